"""Numba with a cache where one can be written, and without where none can."""

from __future__ import annotations

from collections.abc import Callable

from numba import njit


def compiled(function: Callable) -> Callable:
    """Compile on first call, without the interpreter's lock.

    The machine code is kept beside the module, or in the user's cache folder where the install is read-only (or in
    NUMBA_CACHE_DIR), so only the first run ever waits for the compiler. Where no folder can be written, every process
    compiles for itself.
    """
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:  # "no locator available"
        return njit(nogil=True)(function)
