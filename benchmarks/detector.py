"""The near-duplicate detector beside perceptual hashes: trained on photographs of one kind, measured on planted copies of others.

    python -m benchmarks.detector --garments clothing-192.zip --cifar10 cifar10.tar.xz --output detector-benchmark

The archives hold train/CLASS/*.jpg and test/CLASS/*.jpg. Training sees the garments' train folder alone; copies are planted among
CIFAR-10's test photographs, and among the garments' test photographs, many of which share a background. `--checkpoint` measures a
detector that was trained so before.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def dedup(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dedup", *arguments], cwd=ROOT, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--garments", required=True, type=Path, help="archive of photographs to train on")
    parser.add_argument("--cifar10", required=True, type=Path, help="archive of photographs of other kinds")
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--minutes", type=float, default=40.0, help="of training (default: 40)")
    parser.add_argument("--checkpoint", type=Path, help="detector.safetensors of such a training, in place of one")
    flags = parser.parse_args()
    output = flags.output.resolve()
    for archive, name in ((flags.garments, "garments"), (flags.cifar10, "cifar10")):
        if not (output / name).exists():
            shutil.unpack_archive(archive, output / name)
    checkpoint = flags.checkpoint.resolve() if flags.checkpoint else output / "detector" / "detector.safetensors"
    if not flags.checkpoint:
        dedup(
            "train", "--images", str(output / "garments" / "train"), "--size", "small", "--recipe", "strong", "--batch-size", "192",
            "--minutes", str(flags.minutes), "--output", str(output / "detector"),
        )  # fmt: skip
    for name in ("cifar10", "garments"):
        # An archive may hold its two folders inside one.
        images = next(path for path in sorted((output / name).rglob("test")) if path.is_dir())
        print(f"{name}:", flush=True)
        dedup(
            "evaluate", "--checkpoint", str(checkpoint), "--images", str(images), "--originals", "100", "--others", "500",
            "--output", str(output / f"evaluation-{name}"),
        )  # fmt: skip
        found = json.loads((output / f"evaluation-{name}" / "evaluation.json").read_text())
        print(f"{found['originals']} originals, {found['distractors']} distractors")
        for method, one in found["methods"].items():
            print(f"  {method}: {one['recall by change']}", flush=True)


if __name__ == "__main__":
    main()
