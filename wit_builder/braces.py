"""Patterns with braces, as webdataset and shells take them: `shards/{00000..00041}.tar`, `crawl/{a,b}.warc.gz`."""

from __future__ import annotations

from braceexpand import UnbalancedBracesError, braceexpand


def expand_braces(pattern: str) -> list[str]:
    """Every pattern that one with braces stands for, in order; a name with unbalanced braces stands for itself."""
    if "{" not in pattern:
        return [pattern]
    try:
        return list(braceexpand(pattern, escape=False))
    except UnbalancedBracesError:
        return [pattern]
