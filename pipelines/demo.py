"""`python -m pipelines.demo`: the whole story on a small made world, every stage as the command that a user would type.

Stages hand each other files only. The web of the made world is served on loopback while its images are downloaded.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from pipelines import demo_summary
from sample_world.world import SCALES
from wit_builder import files
from wit_builder.errors import UserError, exit_with
from wit_builder.outputs import Output

SUMMARY = "summary.json"
GRACE = 15  # seconds that an interrupted stage gets to end by itself
PORT = "{port}"  # stands for the web server's port in a command, which is not known before it runs


@dataclass(frozen=True)
class Size:
    """What depends on the scale: the query list's length, the cap, and how long the two models are trained."""

    queries: int
    cap: int
    pairs_per_shard: int
    detector_steps: int
    detector_batch: int
    epochs: int


SIZES = {
    "demo": Size(queries=400, cap=120, pairs_per_shard=700, detector_steps=80, detector_batch=64, epochs=10),
    "small": Size(queries=400, cap=20, pairs_per_shard=100, detector_steps=4, detector_batch=16, epochs=1),
}


@dataclass(frozen=True)
class Step:
    """One stage: its name, and what follows `python -m`; `served` where the web must be up meanwhile."""

    name: str
    arguments: tuple[str, ...]
    served: bool = False


def steps(folder: str, seed: int, scale: str, workers: int | None) -> list[Step]:
    """The commands of the story, in order."""
    size = SIZES[scale]

    def path(*names: str) -> str:
        return os.path.join(folder, *names)

    sets = ("--eval", *(f"{name}={path('world', 'evaluation', name)}" for name in ("objects", "colours")))
    common = ("--workers", str(workers)) if workers else ()
    return [
        Step("sample_world", ("sample_world", "--seed", str(seed), "--scale", scale, *common, "--output", path("world"))),
        Step("build_queries", (
            "pipelines.build_queries", "--wikipedia", path("world", "wikipedia", "*-multistream.xml.bz2"),
            "--pageviews", path("world", "pageviews", "*"), "--wordnet", path("world", "wordnet"),
            "--size", str(size.queries), *common, "--output", path("queries"),
        )),
        Step("extract_pairs", (
            "pipelines.extract_pairs", "--input", path("world", "crawl", "*.warc.gz"), *common, "--output", path("pairs"),
        )),
        Step("balance_pairs", (
            "pipelines.balance_pairs", "--pairs", path("pairs"), "--queries", path("queries", "queries.parquet"),
            "--cap", str(size.cap), "--seed", str(seed), *common, "--output", path("balanced"),
        )),
        Step("download_images", (
            "pipelines.download_images", "--pairs", path("balanced"), "--image-size", "96", "--resize-mode", "keep_ratio",
            "--pairs-per-shard", str(size.pairs_per_shard), "--map-host", f"sample.invalid:80=127.0.0.1:{PORT}", "--allow-private-hosts",
            "--host-rate", "0", "--host-connections", "0",
            *common, "--output", path("shards"),
        ), served=True),
        Step("dedup train", (
            "dedup", "train", "--shards", path("shards"), "--size", "tiny", "--recipe", "paper", "--seed", str(seed),
            "--steps", str(size.detector_steps), "--batch-size", str(size.detector_batch), "--output", path("detector"),
        )),
        Step("find_overlaps", (
            "pipelines.find_overlaps", "--shards", path("shards"), *sets, "--detector", path("detector", "detector.safetensors"),
            *common, "--output", path("overlaps"),
        )),
        Step("trainer train", (
            "trainer", "train", "--shards", path("shards"), "--model", "tiny", "--epochs", str(size.epochs),
            "--batch-size", "32", "--learning-rate", "0.001", "--seed", str(seed), "--resume", "auto", "--output", path("model"),
        )),
        Step("trainer zero-shot", (
            "trainer", "zero-shot", "--checkpoint", path("model", "model.safetensors"), *sets,
            "--cache", path("cache"), "--output", path("zero-shot"),
        )),
        Step("dedup report", (
            "dedup", "report", "--overlaps", path("overlaps"), "--predictions", path("zero-shot"),
            "--remove", path("overlap-report", "remove.parquet"), "--output", path("overlap-report"),
        )),
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the story from wherever an earlier run of it stopped, and say what came of it."""
    flags = _flags(arguments)
    output = Output(flags.output, "demo", {"seed": flags.seed, "scale": flags.scale}, [])
    if not output.begin({"workers": flags.workers}):
        print(f"{output.path} is whole already: this is what an earlier run made\n")
        print(demo_summary.screen(files.read_json(output.file(SUMMARY)), output.path))
        return 0
    signal.signal(signal.SIGTERM, _interrupted)
    files.make_folder(output.file("logs"))
    story = steps(output.path, flags.seed, flags.scale, flags.workers)
    seconds: dict[str, float] = {}
    for number, step in enumerate(story, 1):
        label = f"[{number:2}/{len(story)}] {step.name:17}"
        seconds[step.name] = _run(step, output, label)
        print(f"{label} {seconds[step.name]:5.1f} s  {demo_summary.line(step.name, output.path)}", flush=True)
    found = demo_summary.collect(output.path, seconds)
    files.write_json(output.file(SUMMARY), {"seed": flags.seed, "scale": flags.scale, **found})
    output.finish({}, {})
    print("\n" + demo_summary.screen(found, output.path))
    return 0


def _flags(arguments: Sequence[str] | None) -> argparse.Namespace:
    made = argparse.ArgumentParser(
        prog="python -m pipelines.demo",
        description="The whole story on a small made world, offline: queries, pairs, shards, overlap, a trained model, its accuracy.",
        epilog="example:\n  python -m pipelines.demo --output demo\n\nThe same command goes on where an earlier run of it stopped.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--output", required=True, metavar="DIR", help="gets a folder for every stage, and summary.json")
    made.add_argument("--seed", type=int, default=0, metavar="N", help="another seed makes another world (default: 0)")
    made.add_argument("--scale", choices=SCALES, default="demo", help="small: only shows that all stages run (default: demo)")
    made.add_argument("--workers", type=int, metavar="N", help="local processes of each stage (default: all cores)")
    return made.parse_args(arguments)


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def _run(step: Step, output: Output, label: str) -> float:
    """Run one stage to its end, its words in a log of its own. Returns the seconds it took.

    Raises:
      UserError: where it failed, with the last thing it said.
    """
    log = output.file("logs", step.name.replace(" ", "-") + ".log")
    started = time.monotonic()
    with ExitStack() as stack:
        port = stack.enter_context(_served(output.file("world", "site"))) if step.served else ""
        command = [sys.executable, "-m", *(word.replace(PORT, port) for word in step.arguments)]
        stream = stack.enter_context(open(log, "wb"))
        stream.write(f"$ {shlex.join(command)}\n".encode())
        stream.flush()
        child = stack.enter_context(_child(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT))
        while True:
            try:
                code = child.wait(1)
                break
            except subprocess.TimeoutExpired:
                if sys.stderr.isatty():
                    print(f"\r{label} {time.monotonic() - started:5.0f} s …", end="\r", file=sys.stderr, flush=True)
    if code:
        with open(log, encoding="utf-8", errors="replace") as stream:
            said = stream.read().strip().splitlines()[-1].removeprefix("error: ")
        raise UserError(f"{step.name} failed: {said}", fix=f"all it said is in {log}; the same command goes on from there")
    return time.monotonic() - started


@contextmanager
def _child(command: Sequence[str], **streams) -> Iterator[subprocess.Popen]:
    """A child process that has ended when the block is left; it is interrupted where the block is left early.

    It has a session of its own, so that Ctrl-C reaches it once, from here.
    """
    child = subprocess.Popen(command, start_new_session=True, **streams)
    try:
        yield child
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
            try:
                child.wait(GRACE)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


@contextmanager
def _served(site: str) -> Iterator[str]:
    """The made web on loopback; gives its port."""
    command = [sys.executable, "-m", "sample_world.server", "--site", site]
    with _child(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        port = server.stdout.readline().decode().strip()
        if not port:
            raise UserError("the web server of the made world did not start", where=site)
        yield port
        server.stdin.close()
        server.wait(GRACE)


def run() -> None:
    """Entry of `python -m pipelines.demo`."""
    exit_with(main)


if __name__ == "__main__":
    run()
