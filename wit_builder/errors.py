"""Errors a user can mend, told in one line; tracebacks are kept for bugs."""

from __future__ import annotations

import errno
import os
import re
import select
import signal
import sys
from collections.abc import Callable
from types import TracebackType
from typing import NoReturn


class UserError(Exception):
    """Something the user can mend. The message says what, where and how to fix it, in one line."""

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        message = " ".join(what.split())
        if where:
            message = f"{where}: {message}"
        if fix:
            message = f"{message} ({' '.join(fix.split())})"
        super().__init__(message)

    def __reduce__(self):
        # The message is already composed: a worker process sends it back as it is.
        return (UserError, (str(self),))


# Beam hands an error of a worker back as text: the traceback, with its own annotation at the end.
_IN_TRACEBACK = re.compile(r"(?:wit_builder\.errors\.)?UserError: (.+?)(?: \[while running .*)?$", re.MULTILINE)
_INTERRUPT = re.compile(r"^(?:RuntimeError: )?KeyboardInterrupt(?: \[while running .*)?$", re.MULTILINE)
_NO_SPACE = re.compile(r"OSError: \[Errno 28\] ([^\n]*?)(?: \[while running .*)?$", re.MULTILINE)


_OF_PATHS = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)
# What the optional parts of the install bring, by the names that are imported.
_OPTIONAL = frozenset((
    "PIL", "aiodns", "aiohttp", "brotli", "faiss", "fsspec", "ftfy", "imagehash", "pdqhash", "protego", "regex", "safetensors", "scipy",
    "tensorboard", "threadpoolctl", "tokenizers", "torch",
))  # fmt: skip
_OF_NAMES = (errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS)


def user_message(error: BaseException) -> str | None:
    """The line to show for `error`, or None where it is a bug that deserves its traceback."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if isinstance(current, UserError):
            return re.sub(r" \[while running .*$", "", str(current))
        if isinstance(current, ModuleNotFoundError) and (current.name or "").partition(".")[0] in _OPTIONAL:
            return f"{current.name} is not installed (in the project's folder: pip install '.[all]', or make venv)"
        if isinstance(current, OSError) and current.errno == errno.ENOSPC:
            return f"no space left on the device: {current.filename or 'an output file'} (free some space and run again)"
        if isinstance(current, _OF_PATHS) or isinstance(current, OSError) and current.errno in _OF_NAMES and current.filename:
            return f"{current.filename}: {(current.strerror or 'cannot be opened').lower()} (check the path)"
        if type(current).__name__ == "BeamIOError":  # by name: this module knows no Beam
            return " ".join(str(current).split()) + " (check the path, the credentials and the network)"
        for pattern, form in ((_IN_TRACEBACK, "{}"), (_NO_SPACE, "no space left on the device: {} (free some space and run again)")):
            found = pattern.findall(str(current))
            if found:
                return form.format(found[-1])
        current = current.__cause__ or current.__context__
    return None


_INTERRUPTED = "interrupted: run the same command again to go on"


def interrupt_quietly() -> None:
    """From here on an interrupt that nobody catches ends the process in one line, with exit code 130.

    For packages of commands, at the import of which the command's module, and with it Beam, is still to come: that takes seconds.
    """
    before = sys.excepthook

    def told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            return before(kind, error, trace)
        print(_INTERRUPTED, file=sys.stderr, flush=True)
        os._exit(130)

    sys.excepthook = told


def exit_with(main: Callable[[], int | None]) -> NoReturn:
    """Run a command's `main` and exit: 0 done, 1 an error the user can mend, 130 interrupted, 141 nobody reads on (`| head`)."""
    try:
        try:
            code = main() or 0
        except SystemExit as end:
            code = end.code
        sys.stdout.flush()
        sys.exit(code)
    except KeyboardInterrupt:
        print(_INTERRUPTED, file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _has_no_reader():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still to be flushed
            sys.exit(128 + signal.SIGPIPE)
        if _interrupted(error):
            print(_INTERRUPTED, file=sys.stderr)
            sys.exit(130)
        message = user_message(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        sys.exit(1)


def _has_no_reader() -> bool:
    """Whether whoever read our output has gone."""
    try:
        watched = select.poll()
        watched.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in watched.poll(0))
    except (AttributeError, OSError, ValueError):
        return False


def _interrupted(error: BaseException) -> bool:
    """Whether Ctrl-C is behind the error: Beam makes a RuntimeError of one that meets it inside a step."""
    return isinstance(error.__cause__ or error.__context__, KeyboardInterrupt) or bool(_INTERRUPT.search(str(error)))
