"""What every pipeline's command line shares: Beam's own flags beside ours, the runner, and the end of a run."""

from __future__ import annotations

import argparse
import atexit
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from typing import NoReturn

from pipelines.loopback import bind_loopback
from wit_builder import files, remote
from wit_builder.errors import exit_with
from wit_builder.flags import WORKERS
from wit_builder.parallel import available_cores, close_pool, start_pool

# Flags whose paths workers open, and these stand in another folder than the submitter.
_PATHS = (
    "input", "wikipedia", "wikipedia_index", "pageviews", "pairs", "tables", "queries", "shards", "eval", "detector", "clip", "cache",
    "output",
)  # fmt: skip


def parser(stage: str, description: str, example: str) -> argparse.ArgumentParser:
    """Argument parser of `python -m pipelines.STAGE`, with the flags common to all stages."""
    made = argparse.ArgumentParser(
        prog=f"python -m pipelines.{stage}",
        description=description,
        epilog=f"example:\n  {example}\n\nBeam's own flags (--runner, …) may follow; without --runner it runs in this process.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.set_defaults(stage=stage)
    made.add_argument("--workers", type=WORKERS, metavar="N", help="local processes (default: all cores; a --runner decides for itself)")
    return made


class Running:
    """How a pipeline runs: the parsed flags of ours, Beam's options, and the number of local processes.

    Args:
      made: parser of our flags.
      arguments: the command line.
      workers_import: a module that local worker processes import as soon as they are started, which is then done here, while
        this process goes on to import Beam: both take a second.

    Attributes:
      flags: our own flags.
      options: Beam's.
      processes: local processes for `RunTasks`; 0 where the runner spreads the work.
      runner: name of the runner, for the user and run.json.
    """

    def __init__(self, made: argparse.ArgumentParser, arguments: Sequence[str] | None, workers_import: str = "") -> None:
        self.flags, rest = made.parse_known_args(arguments)
        chosen = _runner(rest)
        self.local = chosen in (None, "FnApiRunner")
        self.runner = "in this process (Beam's FnApiRunner)" if self.local else chosen
        self.processes = (self.flags.workers or available_cores()) if self.local else 0
        remote.set_options(rest)
        if workers_import:
            start_pool(self.processes, workers_import)

        from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions

        from pipelines import dataflow

        unknown = unknown_flags(rest)
        if unknown:
            made.error(f"unknown flag {' '.join(unknown)} (see --help)")
        self.options = PipelineOptions(rest)
        self.options.view_as(SetupOptions).save_main_session = False
        if not self.local:
            _make_absolute(self.flags)
        if dataflow.is_dataflow(chosen):
            dataflow.set_defaults(self.options, self.flags.stage)
        # Embedded, Beam logs the traceback of every error that it also raises, and one line is what the user gets.
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL if self.local else logging.WARNING)

    def record(self) -> dict:
        """What run.json says of the run."""
        return {"runner": self.runner, "workers": self.processes}

    @contextmanager
    def pipeline(self):
        """A Beam pipeline that has run to its end when the block is left.

        Where a Dataflow template was asked for, nothing has run: the program ends there.
        """
        import apache_beam as beam
        from apache_beam.options.pipeline_options import GoogleCloudOptions

        bind_loopback()
        if self.local:
            # Named in code: Beam's DirectRunner would first look for a Prism binary, on the network if need be.
            from apache_beam.runners.portability.fn_api_runner import FnApiRunner

            runner = FnApiRunner()
            print(f"runner: {self.runner}, {self.processes} worker process{'es' if self.processes > 1 else ''}", file=sys.stderr)
        else:
            runner = None
            print(f"runner: {self.runner}", file=sys.stderr)
        try:
            with beam.Pipeline(runner=runner, options=self.options) as made:
                yield made
        finally:
            close_pool()
        if template := self.options.view_as(GoogleCloudOptions).template_location:
            print(f"template: {template} (nothing has run yet: start a job from it)", file=sys.stderr)
            sys.exit(0)


def _runner(rest: Sequence[str]) -> str | None:
    """The runner that Beam's flags name."""
    made = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    made.add_argument("--runner")
    return made.parse_known_args(rest)[0].runner


def _make_absolute(flags: argparse.Namespace) -> None:
    """Turn relative local paths into whole ones, also those of NAME=DIR."""
    for name in _PATHS:
        given = getattr(flags, name, None)
        if isinstance(given, str):
            setattr(flags, name, files.absolute(given))
        elif given and name == "eval":
            pairs = [value.partition("=") for value in given]
            flags.eval = [f"{dataset}={files.absolute(path)}" if sign else dataset for dataset, sign, path in pairs]
        elif given:
            setattr(flags, name, [files.absolute(path) for path in given])


def unknown_flags(rest: Sequence[str]) -> list[str]:
    """Flags that neither we nor Beam know. Beam itself drops them without a word, and a typing error goes unseen."""
    known = beam_flags()
    return [flag for flag in (word.split("=", 1)[0] for word in rest if word.startswith("--")) if flag not in known]


def beam_flags() -> set[str]:
    """Every flag that Beam knows. A flag of ours by the same name would keep its value from the runner."""
    from apache_beam.options.pipeline_options import PipelineOptions

    known: set[str] = set()
    for options in PipelineOptions.__subclasses__():
        beam_parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        options._add_argparse_args(beam_parser)
        for action in beam_parser._actions:
            known.update(action.option_strings)
    return known


def run(main: Callable[[Sequence[str] | None], int | None]) -> NoReturn:
    """Entry of `python -m pipelines.STAGE`: errors the user can mend end in one line, not in a traceback.

    The process then ends at once, after its exit functions: gRPC leaves threads behind that the interpreter's own end may
    stop while they hold a lock, and then waits for, so that a command that has done its work would never end.
    """
    code = 1
    try:
        exit_with(lambda: main(None))
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    close_pool(at_once=True)  # that of a run that ended early
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # whoever read it has gone
            stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))
