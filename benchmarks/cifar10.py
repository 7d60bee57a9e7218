"""Zero-shot accuracy on CIFAR-10 after a few minutes of training on its own captions.

    python -m benchmarks.cifar10 --images cifar10.tar.xz --output /tmp/cifar10

The archive holds train/CLASS/*.jpg and test/CLASS/*.jpg. Captions are made from the class names by several templates; the
shards are this project's. How many epochs fit into --minutes is measured first, and the time that training took is printed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from wit_builder.hashing import hash64, pair_uid
from wit_builder.shards import MAX_ROWS, SUCCESS, ShardRow, write_shard

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = ("a photo of a {}.", "a blurry photo of a {}.", "a low resolution photo of the {}.", "a picture of one {}.", "the {}.", "{}")
BATCH = 256
TRIAL = 30  # steps


def prepare(archive: str, folder: Path) -> int:
    """Shards of the training images and a folder of the test images; returns the number of training images."""
    rows: list[tuple[int, ShardRow]] = []
    with tarfile.open(archive) as tar:
        for member in tar:
            if not member.isfile():
                continue
            split, name, file = member.name.split("/")[-3:]
            data = tar.extractfile(member).read()
            if split == "test":
                target = folder / "set" / "test" / name / file
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
                continue
            url = f"http://cifar10.test/{name}/{file}"
            text = TEMPLATES[hash64("template", url) % len(TEMPLATES)].format(name)
            rows.append((hash64("order", url), ShardRow(pair_uid(url, text), url, text, status=SUCCESS, image=data, width=32, height=32)))
    rows.sort(key=lambda row: row[0])
    for number, first in enumerate(range(0, len(rows), MAX_ROWS)):
        write_shard(str(folder / "shards"), number, [row for _, row in rows[first : first + MAX_ROWS]])
    return len(rows)


def trainer(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "trainer", *arguments], cwd=ROOT, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", required=True, help="archive of train/CLASS/*.jpg and test/CLASS/*.jpg")
    parser.add_argument("--output", required=True, type=Path, help="an empty folder")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training (default: 10)")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--workers", type=int, default=1, help="processes that decode; more where a GPU trains (default: 1)")
    parser.add_argument("--crop-area", type=float, default=0.6, help="smallest share of a picture that is seen (default: %(default)s)")
    flags = parser.parse_args()
    flags.output = flags.output.resolve()
    samples = prepare(flags.images, flags.output)
    shared = ["train", "--shards", str(flags.output / "shards"), "--model", flags.model, "--batch-size", str(BATCH)]
    shared += ["--workers", str(flags.workers), "--weight-decay", "0.05", "--crop-area", str(flags.crop_area)]
    trainer(*shared, "--output", str(flags.output / "trial"), "--epochs", str(TRIAL * BATCH / samples))
    rows = [json.loads(line) for line in (flags.output / "trial" / "metrics.jsonl").read_text().splitlines()]
    speed = rows[-1]["samples_per_second"]
    epochs = 0.95 * flags.minutes * 60 * speed / samples
    began = time.perf_counter()
    trainer(*shared, "--output", str(flags.output / "run"), "--epochs", f"{epochs:.2f}")
    minutes = (time.perf_counter() - began) / 60
    prompts = [part for template in TEMPLATES for part in ("--template", template)]
    trainer(
        "zero-shot", "--checkpoint", str(flags.output / "run" / "model.safetensors"), "--eval", f"cifar10={flags.output / 'set'}",
        "--output", str(flags.output / "zero-shot"), *prompts,
    )  # fmt: skip
    print(f"{epochs:.2f} epochs in {minutes:.1f} minutes ({speed:.0f} images a second in the trial)")
    print((flags.output / "zero-shot" / "metrics.json").read_text())


if __name__ == "__main__":
    main()
