"""Memory that evaluating many images takes, beyond the files that it reads: a made split, cached as `trainer` would cache it.

    python -m benchmarks.evaluate_memory --images 100000 1000000

Features are random but for a direction of each class. Each part runs in a process of its own: zero-shot with one image a unit
and with clips of four frames, several labels each, a linear probe (validation split off, one fit of `--iterations`, all
measured), groups of people, and a ranking by text. The figure is the peak of anonymous memory (RssAnon) over what it was before
the split was opened; pages of mapped files are the system's to take back. Retrieval is quadratic, and left to a tenth of the images.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import pyarrow as pa
import torch

from trainer.evaluate import probe
from trainer.evaluate.bias_probe import probabilities, rate_rows
from trainer.evaluate.encoder import Encoder
from trainer.evaluate.features import ROWS, Features, load
from trainer.evaluate.rerank import best_matches
from trainer.evaluate.retrieval import retrieval
from trainer.evaluate.zero_shot import zero_shot
from trainer.load import Loaded, Preprocessing
from trainer.model import build
from trainer.sizes import ModelConfig
from trainer.tokenizer import Tokenizer
from wit_builder import files, tables
from wit_builder.evalsets import EvaluationSet

PARTS = ("zero-shot", "clips", "several", "probe", "groups", "rerank", "retrieval")


def make_split(folder: str, images: int, width: int, classes: int, part: str) -> None:
    """A cached split in `features.load`'s form."""
    random = np.random.default_rng(0)
    directions = random.normal(size=(classes, width)).astype(np.float32)
    os.makedirs(folder)

    def batches():
        with open(os.path.join(folder, "features.f32"), "wb") as one, open(os.path.join(folder, "embedding.f32"), "wb") as other:
            for start in range(0, images, 65_536):
                count = min(65_536, images - start)
                labels = random.integers(0, classes, count)
                vectors = directions[labels] + 2 * random.normal(size=(count, width)).astype(np.float32)
                one.write(vectors.astype("<f4").tobytes())
                other.write((vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("<f4").tobytes())
                number = np.arange(start, start + count)
                several = part == "several"
                yield pa.RecordBatch.from_pydict(
                    {
                        "eval_key": [f"test/{i // 10_000}.tar/s{i:07d}" for i in number],
                        "label": pa.nulls(count, pa.int32()) if several else labels,
                        "labels": [sorted({int(i), int(i + 1) % classes}) if several else [int(i)] for i in labels],
                        "captions": [[f"a picture numbered {i}"] if part == "retrieval" else [] for i in number],
                        "clip": [f"video {i // 4}" if part == "clips" else "" for i in number],
                        "columns": ["{}"] * count,
                    },
                    ROWS,
                )

    tables.write_batches(os.path.join(folder, "rows.parquet"), ROWS, batches())
    described = {"count": images, "features": width, "embedding": width, "skipped": {"counts": {}, "named": []}}
    files.write_json(os.path.join(folder, "features.json"), described)


def small_encoder(width: int) -> Encoder:
    """A tiny model with random weights that gives vectors of this width."""
    sizes = ModelConfig(width, 32, (2,), 32, 2, patch=8, text_width=16, text_heads=2, text_layers=1, context=24, vocabulary=514)
    return Encoder(Loaded(build(sizes, 0), Tokenizer([]), Preprocessing(32), {}), "made", torch.device("cpu"))


def run_part(part: str, features: Features, encoder: Encoder, classes: int, iterations: int, cache: str) -> None:
    """What the commands do with a split's features."""
    opened = EvaluationSet("made", "made", tuple(f"thing {i}" for i in range(classes)), ("{}",), {"test": ""})
    if part in ("zero-shot", "clips", "several"):
        zero_shot(encoder, opened, opened.class_names, opened.templates, features, cache)
    elif part == "probe":
        probe.IN_MEMORY = 0  # read from disk, as what is larger than this is
        train, validation = probe.split_off_validation(probe.Labelled.of(features, classes), "made")
        probe.evaluate(probe.fit(train, classes, 1.0, encoder.device, max_iterations=iterations), validation)
    elif part == "groups":
        classifier = encoder.embed_texts(opened.class_names)
        chances = probabilities(features, classifier, 100.0)
        groups = np.array(["a", "b"])[np.arange(len(features)) % 2]
        rate_rows(chances, dict.fromkeys(opened.class_names, "kind"), {"group": groups}, [None, 0.01], False)
    elif part == "rerank":
        best_matches(encoder.embed_texts(["a", "b"]), features.embedding, 1000)
    else:
        retrieval(encoder, opened, features, cache)


def anonymous() -> int:
    """Anonymous memory of this process, bytes (Linux)."""
    with open("/proc/self/status", encoding="ascii") as stream:
        return next(int(line.split()[1]) * 1024 for line in stream if line.startswith("RssAnon"))


def child(arguments: argparse.Namespace) -> None:
    """One part in this process: prints its peak and seconds as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        split = os.path.join(folder, "split")
        # In a process of its own, so that what making leaves in the heap does not count.
        make = [sys.executable, "-m", "benchmarks.evaluate_memory", "--make", split, *_flags(arguments)]
        subprocess.run(make, check=True)
        encoder = small_encoder(arguments.width)
        encoder.embed_texts(["warm"])
        before, peak, done = anonymous(), [0], threading.Event()

        def watch() -> None:
            while not done.wait(0.005):
                peak[0] = max(peak[0], anonymous())

        watcher = threading.Thread(target=watch)
        watcher.start()
        began = time.perf_counter()
        run_part(arguments.part, load(split), encoder, arguments.classes, arguments.iterations, folder)
        seconds = time.perf_counter() - began
        done.set()
        watcher.join()
    print(json.dumps({"peak": peak[0] - before, "seconds": seconds}))


def _flags(arguments: argparse.Namespace, images: int = 0, part: str = "") -> list[str]:
    images, part = images or arguments.images[0], part or arguments.part
    return [
        "--part", part, "--images", str(images), "--width", str(arguments.width), "--classes", str(arguments.classes),
        "--iterations", str(arguments.iterations),
    ]  # fmt: skip


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--images", type=int, nargs="+", default=[100_000, 1_000_000])
    made.add_argument("--width", type=int, default=256, help="of features and embedding")
    made.add_argument("--classes", type=int, default=20)
    made.add_argument("--iterations", type=int, default=5, help="of the probe's fit")
    made.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    made.add_argument("--part", default="", help=argparse.SUPPRESS)
    made.add_argument("--make", default="", help=argparse.SUPPRESS)
    arguments = made.parse_args()
    if arguments.make:
        make_split(arguments.make, arguments.images[0], arguments.width, arguments.classes, arguments.part)
    elif arguments.part:
        child(arguments)
    else:
        for part in arguments.parts:
            for images in arguments.images:
                images = images // 10 if part == "retrieval" else images
                command = [sys.executable, "-m", "benchmarks.evaluate_memory", *_flags(arguments, images, part)]
                found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                matrix, peak = images * arguments.width * 4 / 1e6, found["peak"] / 1e6
                print(f"{part:10} {images:>9,} images, {matrix:,.0f} MB a matrix: peak {peak:,.0f} MB, {found['seconds']:.0f} s")


if __name__ == "__main__":
    main()
