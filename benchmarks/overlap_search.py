"""Evaluation vectors against a stream of training vectors, as find_overlaps searches: rate, memory, and the limit beside them.

    python -m benchmarks.overlap_search

Made vectors: evaluation images gather about centres, as photographs of one kind do, their views about each image, and one training
vector in a hundred is a copy of a view, more or less changed. The search runs on its own code (`dedup.search`: `build`, then
`SearchShard` on processes of `wit_builder.parallel`). The limit is the product of all pairs alone, at the rate that as many processes
at a time reach with square matrices, in single precision and in bfloat16. Rates are by CPU time: a shared machine changes them less.
Memory is the largest proportional set size (PSS) of the worker processes added up, which counts what they share once.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pyarrow as pa
import torch

from dedup.neighbours import FLAT, IVF, MARGIN, fast_precision
from dedup.search import SearchShard, build
from dedup.tasks import Search, write_embeddings
from dedup.views import VIEW_KINDS, WHOLE, view_names
from wit_builder import files, tables
from wit_builder.hashing import pair_uid
from wit_builder.parallel import close_pool, run_tasks
from wit_builder.records import embeddings
from wit_builder.shards import ShardPaths

TRAINING = 400_000_000
LOOSE = 0.6
SIDE, PRODUCTS = 2048, 20  # of the products that measure the machine


def changed(vectors: np.ndarray, cosine: float | np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Unit vectors float32 [n, D] at about the given cosine from unit vectors, in drawn directions."""
    noise = chance.standard_normal(vectors.shape, np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    cosine = np.broadcast_to(np.asarray(cosine, np.float32), len(vectors))[:, None]
    made = cosine * vectors + np.sqrt(1 - cosine**2) * noise
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def make_evaluation(folder: str, images: int, kinds: tuple[str, ...], centres: np.ndarray) -> tuple[dict, np.ndarray]:
    """A part as `EmbedEvaluation` leaves it, and its vectors float16 [images · views, D]."""
    chance, names = np.random.default_rng(1), view_names(kinds)
    whole = changed(centres[chance.integers(0, len(centres), images)], 0.45, chance)
    vectors = np.empty((images, len(names), centres.shape[1]), np.float16)
    vectors[:, 0] = whole
    for view in range(1, len(names)):
        vectors[:, view] = changed(whole, chance.uniform(0.5, 0.95, images), chance)
    vectors = vectors.reshape(-1, centres.shape[1])
    keys = [f"{number:06d}.jpg" for number in range(images)]
    paths = [files.join(folder, f"{kind}-{len(names)}.parquet") for kind in ("vectors", "images")]
    part = {"dataset": "made", "part": 0, "vectors": paths[0], "images": paths[1]}
    schema = embeddings(centres.shape[1])
    write_embeddings(part["vectors"], [key for key in keys for _ in names], names * images, vectors, schema)
    rows = {"eval_key": keys, "label": pa.array([0] * images, pa.int32()), "confounder": [""] * images, "error": [""] * images}
    tables.write_table(part["images"], pa.table(rows))
    return part, vectors


def make_shard(folder: str, number: int, size: int, evaluation: np.ndarray, centres: np.ndarray) -> dict:
    """A shard's rows and embeddings, as `EmbedShard` leaves them; no images."""
    chance = np.random.default_rng([2, number])
    vectors = changed(centres[chance.integers(0, len(centres), size)], 0.45, chance)
    copies = chance.integers(0, len(evaluation), size // 100)
    vectors[: len(copies)] = changed(evaluation[copies].astype(np.float32), chance.uniform(0.5, 1, len(copies)), chance)
    urls = [f"https://images.example/{number}/{row}.jpg" for row in range(size)]
    uids = [pair_uid(url, "") for url in urls]
    place = files.join(folder, f"{number:05d}")
    shard = ShardPaths(f"{number:05d}", f"{place}.tar", f"{place}.parquet", f"{place}_stats.json")
    tables.write_table(shard.parquet, pa.table({"url": urls, "key": [f"{number:05d}{row:04d}" for row in range(size)], "uid": uids}))
    path = files.join(folder, f"embeddings-{number}.parquet")
    write_embeddings(path, uids, [WHOLE] * size, vectors.astype(np.float16), embeddings(vectors.shape[1]))
    return {"shard": shard, "vectors": path}


def cpu_seconds() -> float:
    """CPU time of this process's living children."""
    ticks = 0
    for child in multiprocessing.active_children():
        with open(f"/proc/{child.pid}/stat") as stream:
            ticks += sum(map(int, stream.read().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


class Watch(threading.Thread):
    """Samples the memory of this process's children."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most, self.ended = 0, threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.2):
            total = 0
            for child in multiprocessing.active_children():
                try:
                    with open(f"/proc/{child.pid}/smaps_rollup") as stream:
                        total += next(int(line.split()[1]) for line in stream if line.startswith("Pss:"))
                except (OSError, StopIteration):
                    continue
            self.most = max(self.most, total)


def product_rate(name: str) -> float:
    """Operations a second of one process's products of square matrices."""
    torch.set_num_threads(1)
    first, second = (torch.randn(SIDE, SIDE).to(getattr(torch, name)) for _ in range(2))
    first @ second
    start = time.process_time()
    for _ in range(PRODUCTS):
        first @ second
    return PRODUCTS * 2 * SIDE**3 / (time.process_time() - start)


def machine_rate(name: str, processes: int) -> float:
    """Operations a CPU second, of one of as many processes at work."""
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        return float(np.mean(list(pool.map(product_rate, [name] * processes))))


def measure(settings: Search, part: dict, shards: list[dict], processes: int, folder: str) -> tuple[float, float, float, int, dict]:
    """Seconds to search by the clock and of CPU time, and to build and load the index; peak memory in kB; counts."""
    start = time.perf_counter()
    name = build(settings, folder, [part])
    work = SearchShard(settings, folder)
    warm = [shards[-1]] * processes  # every process loads the index before the clock starts
    watch = Watch()
    watch.start()
    list(run_tasks(work, [(one, name) for one in warm], processes))
    built, start, busy = time.perf_counter() - start, time.perf_counter(), cpu_seconds()
    results = list(run_tasks(work, [(one, name) for one in shards[:-1]], processes))
    seconds, busy = time.perf_counter() - start, cpu_seconds() - busy
    watch.ended.set()
    watch.join()
    close_pool()
    counts: dict[str, int] = {"hits": sum(tables.count_rows(result["hits"]) for result in results)}
    for result in results:
        for key, value in result["counts"].items():
            counts[key] = counts.get(key, 0) + value
    return seconds, busy, built, watch.most, counts


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--images", type=int, default=50_000, help="evaluation images")
    made.add_argument("--shards", type=int, default=4, help="of training vectors, beside the one that warms up")
    made.add_argument("--shard-size", type=int, default=10_000)
    made.add_argument("--dimension", type=int, default=512, help="default: the paper's detector's here")
    made.add_argument("--workers", type=int, default=2)
    made.add_argument("--probes", type=int, nargs="+", default=[32])
    made.add_argument("--json", action="store_true")
    flags = made.parse_args()

    rates = {name: machine_rate(name, flags.workers) for name in ("float32", "bfloat16")}
    used = str(fast_precision()).removeprefix("torch.")
    print("products alone: " + ", ".join(f"{name} {rate / 1e9:,.0f} billion operations a CPU second" for name, rate in rates.items()))
    print(f"the search proposes in {used}, within {MARGIN[fast_precision()]:.4f}")
    with tempfile.TemporaryDirectory() as folder:
        chance = np.random.default_rng(0)
        centres = chance.standard_normal((1000, flags.dimension), np.float32)
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
        for kinds in (VIEW_KINDS, ()):
            part, evaluation = make_evaluation(folder, flags.images, kinds, centres)
            shards = [make_shard(folder, number, flags.shard_size, evaluation, centres) for number in range(flags.shards)]
            shards.append(make_shard(folder, flags.shards, min(flags.shard_size, 256), evaluation, centres))
            operations = 2 * len(evaluation) * flags.dimension
            for index, probes in [(FLAT, 1), *((IVF, probes) for probes in flags.probes)]:
                cache = tempfile.mkdtemp(dir=folder)
                settings = Search("", "made", cache, kinds, False, LOOSE, 100, index, probes)
                os.mkdir(files.join(cache, "index"))
                seconds, busy, built, memory, counts = measure(settings, part, shards, flags.workers, files.join(cache, "index"))
                searched = flags.shards * flags.shard_size
                rate, limit = searched / busy, rates[used] / operations
                one = {
                    "vectors": len(evaluation), "index": index, "probes": probes if index == IVF else None,
                    "vectors a second": round(searched / seconds), "a CPU second": round(rate), "limit": round(limit),
                    "share": round(rate / limit, 3), "built s": round(built, 1), "memory MB": round(memory / 1024),
                    "core-hours for 400M": round(TRAINING / rate / 3600), **counts,
                }  # fmt: skip
                if index == IVF:
                    there = one["pairs found by exact search, on the same"]
                    one["recall"] = round(one["pairs found by the index, on a sample"] / max(1, there), 4)
                print(json.dumps(one) if flags.json else "  ".join(f"{key} {value}" for key, value in one.items()), flush=True)


if __name__ == "__main__":
    main()
