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
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from pipelines import demo_summary
from sample_world.world import SCALES
from wit_builder import files
from wit_builder.errors import UserError, exit_with
from wit_builder.flags import SEED, WORKERS
from wit_builder.outputs import Output
from wit_builder.parallel import available_cores

SUMMARY = "summary.json"
GRACE = 15  # seconds that an interrupted stage gets to end by itself
AGAIN = 5  # seconds after which it is interrupted again
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
    """One stage.

    Attributes:
      name: of the stage.
      arguments: what follows `python -m`.
      after: names of the stages whose files it reads.
      served: whether the web must be up meanwhile.
      beside: whether it is trained beside another model, on half of the cores.
    """

    name: str
    arguments: tuple[str, ...]
    after: tuple[str, ...] = ()
    served: bool = False
    beside: bool = False


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
        ), after=("sample_world",)),
        Step("extract_pairs", (
            "pipelines.extract_pairs", "--input", path("world", "crawl", "*.warc.gz"), *common, "--output", path("pairs"),
        ), after=("sample_world",)),
        Step("balance_pairs", (
            "pipelines.balance_pairs", "--pairs", path("pairs"), "--queries", path("queries", "queries.parquet"),
            "--cap", str(size.cap), "--seed", str(seed), *common, "--output", path("balanced"),
        ), after=("build_queries", "extract_pairs")),
        Step("download_images", (
            "pipelines.download_images", "--pairs", path("balanced"), "--image-size", "96", "--resize-mode", "keep_ratio",
            "--pairs-per-shard", str(size.pairs_per_shard), "--map-host", f"sample.invalid:80=127.0.0.1:{PORT}", "--allow-private-hosts",
            "--host-rate", "0", "--host-connections", "0",
            *common, "--output", path("shards"),
        ), after=("balance_pairs",), served=True),
        Step("dedup train", (
            "dedup", "train", "--shards", path("shards"), "--size", "tiny", "--recipe", "paper", "--seed", str(seed),
            "--steps", str(size.detector_steps), "--batch-size", str(size.detector_batch), "--output", path("detector"),
        ), after=("download_images",), beside=True),
        Step("find_overlaps", (
            "pipelines.find_overlaps", "--shards", path("shards"), *sets, "--detector", path("detector", "detector.safetensors"),
            *common, "--output", path("overlaps"),
        ), after=("dedup train",)),
        Step("trainer train", (
            "trainer", "train", "--shards", path("shards"), "--model", "tiny", "--epochs", str(size.epochs),
            "--batch-size", "32", "--learning-rate", "0.001", "--seed", str(seed), "--resume", "auto", "--output", path("model"),
        ), after=("download_images",), beside=True),
        Step("trainer zero-shot", (
            "trainer", "zero-shot", "--checkpoint", path("model", "model.safetensors"), *sets,
            "--cache", path("cache"), "--output", path("zero-shot"),
        ), after=("trainer train",)),
        Step("dedup report", (
            "dedup", "report", "--overlaps", path("overlaps"), "--predictions", path("zero-shot"),
            "--remove", path("overlap-report", "remove.parquet"), "--output", path("overlap-report"),
        ), after=("find_overlaps", "trainer zero-shot")),
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
    started = time.monotonic()
    seconds = run_steps(story, output, lambda label, step: print(f"{label}  {demo_summary.line(step.name, output.path)}", flush=True))
    found = demo_summary.collect(output.path, {**seconds, "total": time.monotonic() - started})
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
    made.add_argument("--seed", type=SEED, default=0, metavar="N", help="another seed makes another world (default: 0)")
    made.add_argument("--scale", choices=SCALES, default="demo", help="small: only shows that all stages run (default: demo)")
    made.add_argument("--workers", type=WORKERS, metavar="N", help="local processes of each stage (default: all cores)")
    return made.parse_args(arguments)


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@dataclass
class _Running:
    """A stage under way, and what ends with it."""

    step: Step
    label: str
    log: str
    started: float
    child: subprocess.Popen
    stack: ExitStack

    def shown(self) -> str:
        return f"{self.label} {time.monotonic() - self.started:5.1f} s"


def run_steps(story: Sequence[Step], output: Output, ended: Callable[[str, Step], None]) -> dict[str, float]:
    """Run all stages, each as soon as those it reads from have ended; the two models are trained side by side.

    Args:
      ended: is called after each stage with a line's beginning and the stage.

    Returns: the seconds that each stage took, some of them at the same time.

    Raises:
      UserError: where one failed, with the last thing it said.
    """
    numbers = {step.name: f"[{number:2}/{len(story)}] {step.name:17}" for number, step in enumerate(story, 1)}
    waiting, running, seconds = list(story), [], {}
    with ExitStack() as stack:
        while waiting or running:
            for step in [step for step in waiting if all(name in seconds for name in step.after)]:
                waiting.remove(step)
                running.append(stack.enter_context(_started(step, output, numbers[step.name])))
            time.sleep(0.1)
            for one in [one for one in running if one.child.poll() is not None]:
                running.remove(one)
                one.stack.close()
                _check(one)
                seconds[one.step.name] = time.monotonic() - one.started
                ended(one.shown(), one.step)
            if sys.stderr.isatty() and running:
                print("\r" + "   ".join(one.shown() for one in running) + " …", end="\r", file=sys.stderr, flush=True)
    return seconds


@contextmanager
def _started(step: Step, output: Output, label: str) -> Iterator[_Running]:
    """A stage under way, its words in a log of its own."""
    log = output.file("logs", step.name.replace(" ", "-") + ".log")
    with ExitStack() as stack:
        port = stack.enter_context(_served(output.file("world", "site"))) if step.served else ""
        command = [sys.executable, "-m", *(word.replace(PORT, port) for word in step.arguments)]
        stream = stack.enter_context(open(log, "wb"))
        stream.write(f"$ {shlex.join(command)}\n".encode())
        stream.flush()
        # Two that both take all cores wait for each other's threads, and are several times as slow as on half of them.
        threads = {"OMP_NUM_THREADS": str(max(1, available_cores() // 2))} if step.beside else {}
        environment = {**threads, **os.environ}
        child = stack.enter_context(_child(command, env=environment, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT))
        yield _Running(step, label, log, time.monotonic(), child, stack)


def _check(ended: _Running) -> None:
    if ended.child.returncode:
        with open(ended.log, encoding="utf-8", errors="replace") as stream:
            said = stream.read().strip().splitlines()[-1].removeprefix("error: ")
        fix = f"all it said is in {ended.log}; the same command goes on from there"
        raise UserError(f"{ended.step.name} failed: {said}", fix=fix)


@contextmanager
def _child(command: Sequence[str], **streams) -> Iterator[subprocess.Popen]:
    """A child process that has ended when the block is left; it is interrupted where the block is left early.

    It has a session of its own, so that Ctrl-C reaches it once, from here.
    """
    child = subprocess.Popen(command, start_new_session=True, **streams)
    try:
        yield child
    finally:
        end = time.monotonic() + GRACE
        while child.poll() is None and time.monotonic() < end:
            child.send_signal(signal.SIGINT)  # once more, later: a module that is just being loaded may swallow the first
            with suppress(subprocess.TimeoutExpired):
                child.wait(AGAIN)
        if child.poll() is None:
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
