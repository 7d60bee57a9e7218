"""A progress line on a terminal; silence in a pipe."""

from __future__ import annotations

import sys

from tqdm import tqdm


def progress(label: str, total: float | None, unit: str, *, scale: bool = True) -> tqdm:
    """A tqdm line on standard error: per cent, rate and time left. Nothing at all where that is no terminal."""
    return tqdm(
        desc=label,
        total=total,
        unit=unit,
        unit_scale=scale,
        disable=not sys.stderr.isatty(),
        file=sys.stderr,
        dynamic_ncols=True,
        leave=None,  # one inside another goes when it is done
    )
