"""Growth of `pipelines.build_queries`: a made dump at 1, 4 and 16 times the size; time, memory, and the cost of the full dump.

    python -m benchmarks.build_queries

The dump is a multistream bz2 of articles with Zipf's word frequencies, a vocabulary that keeps growing, and the markup
of real ones: links, templates, references, tables. CPU time of all processes is what counts: on a shared machine the
clock measures the neighbours too; both are reported. Memory is the peak over the run of the proportional set size (PSS)
of all its processes together, and the largest resident set of one process. Linux only.
"""

from __future__ import annotations

import argparse
import bz2
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
UNITS = (1, 4, 16)
FULL_XML_BYTES = 95e9  # the English Wikipedia of 2025, pages-articles, decompressed

HEAD = '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="en">\n'
TAIL = "</mediawiki>\n"
SYLLABLES = [consonant + vowel for consonant in "bcdfghjklmnprstvwz" for vowel in ("a", "e", "i", "o", "u", "ar", "en", "is")]


def word(rank: int) -> str:
    """A word for each rank: common ones short."""
    made = ""
    while rank >= 0:
        made = SYLLABLES[rank % len(SYLLABLES)] + made
        rank = rank // len(SYLLABLES) - 1
    return made


def article(number: int, random: np.random.Generator, words: dict[int, str]) -> str:
    """One page of the dump, some 9 kB."""
    ranks = np.minimum(random.zipf(1.2, 1100) - 1, 5_000_000)
    text = [words.setdefault(rank, word(rank)) for rank in ranks.tolist()]
    for place in range(0, len(text), 9):
        text[place] = f"[[{text[place]} ({text[place - 1]})|{text[place]}]]"
    for place in range(5, len(text), 40):
        cited = f"{{{{cite web |url=http://example.org/{place} |title={text[place]}}}}}"
        text[place] = f"{text[place]}.&lt;ref name=r{place}&gt;{cited}&lt;/ref&gt;\n\n"
    body = (
        f"{{{{Infobox |name={text[0]} |image={text[1]}.jpg}}}}\n'''{text[2]}''' " + " ".join(text) + "\n== See also ==\n* [[" + text[3]
        + "]]\n{| class=\"wikitable\"\n! a !! b\n|-\n| style=\"x\" | " + text[4] + " || " + text[5] + "\n|}\n[[Category:" + text[6] + "]]"
    )  # fmt: skip
    return (
        f"  <page>\n    <title>{text[7].capitalize()} {number}</title>\n    <ns>0</ns>\n    <id>{number}</id>\n    <revision>\n"
        f"      <id>1</id>\n      <model>wikitext</model>\n      <text bytes=\"9\" xml:space=\"preserve\">{body}</text>\n"
        "    </revision>\n  </page>\n"
    )


def write_dumps(folder: Path, unit_bytes: int) -> list[tuple[Path, int]]:
    """Dumps of 1, 4 and 16 units, each the start of the next, with their XML's size in bytes."""
    random, words, number = np.random.default_rng(0), {}, 0
    paths = [folder / f"made-{units}.xml.bz2" for units in UNITS]
    streams = [path.open("wb") for path in paths]
    sizes = [0] * len(paths)

    def put(text: str, which: list[int]) -> None:
        data = bz2.compress(text.encode())
        for index in which:
            streams[index].write(data)
            sizes[index] += len(text)

    put(HEAD, list(range(len(paths))))
    while sizes[-1] < UNITS[-1] * unit_bytes:
        pages = [article(number + offset, random, words) for offset in range(100)]
        number += 100
        put("".join(pages), [index for index, units in enumerate(UNITS) if sizes[index] < units * unit_bytes])
    put(TAIL, list(range(len(paths))))
    for stream in streams:
        stream.close()
    return list(zip(paths, sizes))


def descendants(pid: int) -> list[int]:
    """The process and all that it started."""
    found = [pid]
    for process in found:
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            try:
                found += [int(child) for child in children.read_text().split()]
            except OSError:
                continue
    return found


def memory_of(pid: int) -> int:
    """Proportional set size of the process and all that it started, bytes."""
    total = 0
    for process in descendants(pid):
        try:
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except OSError:
            continue
    return total


def measure(dump: Path, output: Path, workers: int) -> dict[str, float]:
    """One run: seconds by the clock and of all CPUs, peak memory in bytes."""
    command = [
        sys.executable, "-m", "pipelines.build_queries", "--wikipedia", str(dump), "--wordnet", "none", "--workers", str(workers),
        "--output", str(output),
    ]  # fmt: skip
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    peak = 0

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            peak = max(peak, memory_of(process.pid))
            time.sleep(0.1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    if process.wait():
        raise SystemExit(f"{' '.join(command)} failed")
    watcher.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": time.perf_counter() - start, "cpu": cpu, "peak": peak, "largest": after.ru_maxrss * 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unit", type=int, default=64 << 20, help="bytes of XML of the smallest dump (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", help="where to make dumps and outputs (default: a temporary folder)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        results = []
        for dump, size in write_dumps(folder, given.unit):
            found = measure(dump, folder / f"output-{size}", given.workers)
            results.append((size, found))
            print(
                f"{size / 1e6:8.0f} MB of XML ({dump.stat().st_size / 1e6:.0f} MB bz2): {found['wall']:7.1f} s, {found['cpu']:7.1f} CPU s, "
                f"{size / 1e6 / found['cpu']:.2f} MB a CPU second, peak {found['peak'] / 1e6:.0f} MB of all processes, "
                f"largest process so far {found['largest'] / 1e6:.0f} MB",
                flush=True,
            )
    (small, first), (middle, second), (large, third) = results
    lower = (second["cpu"] - first["cpu"]) / (middle - small)
    upper = (third["cpu"] - second["cpu"]) / (large - middle)
    print(f"CPU time a byte, 4x to 16x against 1x to 4x: {upper / lower:.3f}; 16x against 4x in all: {third['cpu'] / second['cpu']:.2f}")
    print(f"peak memory, 16x against 1x: {third['peak'] / first['peak']:.2f}")
    print(f"the full dump ({FULL_XML_BYTES / 1e9:.0f} GB of XML): {upper * FULL_XML_BYTES / 3600:.1f} core-hours")


if __name__ == "__main__":
    main()
