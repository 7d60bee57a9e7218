"""What `pipelines.estimate` rests on and no other benchmark says: bytes spilled and stored, and two rates.

    python -m benchmarks.rates --images FOLDER_OF_JPEGS

Core-seconds are those of the larger run less those of the smaller, so that start-up doesn't count; one worker each.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from benchmarks import balance, build_queries, extract

ROOT = Path(__file__).resolve().parent.parent
WAT_PAGES = 9_500  # of which four files hold about as many links as one of Common Crawl's
POOL = 1_000_000
FEW, MANY = 64, 320


def command(*words: object, spills: Path | None = None) -> tuple[float, int]:
    """Core-seconds of a command, and bytes of all spill files that were ever whole."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen([sys.executable, "-m", *map(str, words)], cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    seen: dict[str, int] = {}
    ended = threading.Event()

    def watch() -> None:
        while spills is not None and not ended.wait(0.05):
            for path in spills.rglob("*"):
                try:
                    if ".tmp-" not in path.name and path.is_file():
                        seen[str(path)] = path.stat().st_size
                except OSError:
                    continue  # it has just gone

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    ended.set()
    watcher.join()
    if code:
        raise SystemExit(f"{' '.join(map(str, words))} failed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, sum(seen.values())


def stored(folder: Path, pattern: str = "*.parquet") -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern))


def pairs(folder: Path) -> None:
    files = [folder / f"{seed}.warc.wat.gz" for seed in range(4)]
    links = [extract.make_wat(path, WAT_PAGES, seed) for seed, path in enumerate(files)]
    runs = []
    for count in (1, 4):
        output = folder / f"pairs-{count}"
        words = ("pipelines.extract_pairs", "--input", *files[:count], "--workers", 1, "--output", output)
        runs.append((*command(*words, spills=output / ".work"), stored(output)))
    (one_seconds, *_), (seconds, spilled, kept) = runs
    more = sum(links[1:])
    print(f"extract_pairs: {(seconds - one_seconds) / more * 400_000:.1f} core-seconds for 400,000 links, {spilled / sum(links):.0f} bytes "
          f"spilled a link, {kept / sum(links):.0f} stored a pair; "
          f"{sum(map(os.path.getsize, files)) / sum(links) * 0.4:.0f} MB of WAT")


def queries(folder: Path) -> None:
    *_, (dump, size) = build_queries.write_dumps(folder, 4 << 20)
    output = folder / "queries"
    _, spilled = command(
        "pipelines.build_queries", "--wikipedia", dump, "--wordnet", "none", "--workers", 1, "--output", output, spills=output / ".work"
    )
    print(f"build_queries: {spilled / size:.2f} bytes spilled and {stored(output) / size:.4f} stored a byte of XML")


def balanced(folder: Path) -> None:
    balance.make_pool(str(folder), POOL, True)
    output = folder / "balanced"
    command(
        "pipelines.balance_pairs", "--pairs", folder / "pairs", "--queries", folder / "queries.parquet",
        "--cap", 20_000 * POOL // balance.PUBLISHED_PAIRS, "--workers", 1, "--output", output,
    )  # fmt: skip
    rows = sum(balance.tables.count_rows(str(path)) for path in output.glob("balanced-pairs-*"))
    before = stored(folder / "pairs", "pairs-*") / POOL
    print(f"balance_pairs: {stored(output, 'balanced-pairs-*') / rows:.0f} bytes a balanced pair, {before:.0f} before")


def embeddings(folder: Path, images: Path) -> None:
    found = sorted(path for path in images.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))[:MANY]
    if len(found) < MANY:
        raise SystemExit(f"{images}: {MANY} JPEG files are needed, {len(found)} are there")
    for name, count in (("few", FEW), ("many", MANY)):
        (folder / name).mkdir()
        for number, path in enumerate(found[:count]):
            (folder / name / f"{number}.jpg").symlink_to(path.resolve())
    detector = folder / "detector"
    train = ("dedup", "train", "--images", folder / "few", "--size", "resnet50", "--steps", 1, "--batch-size", 8, "--output", detector)
    command(*train)
    seconds = []
    for name in ("few", "many"):
        words = ("dedup", "embed", "--checkpoint", detector / "detector.safetensors", "--images", folder / name)
        seconds.append(command(*words, "--output", folder / f"{name}.parquet")[0])
    each = (seconds[1] - seconds[0]) / (MANY - FEW)
    grown = ((folder / "many.parquet").stat().st_size - (folder / "few.parquet").stat().st_size) / (MANY - FEW)
    print(f"find_overlaps: {each:.3f} core-seconds an image with ResNet-50 at 224 pixels, {grown:.0f} bytes an embedding")


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--images", type=Path, required=True, help=f"a folder with at least {MANY} JPEG files under it")
    flags = made.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, measure in (("pairs", pairs), ("queries", queries), ("balanced", balanced)):
            part = Path(folder) / name
            part.mkdir()
            measure(part)
        part = Path(folder) / "embeddings"
        part.mkdir()
        embeddings(part, flags.images)


if __name__ == "__main__":
    main()
