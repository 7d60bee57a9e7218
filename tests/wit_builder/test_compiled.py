"""Compiled code works where no cache can be written, and no cache can go stale unseen."""

import ast
from pathlib import Path

import numba.core.caching
import numpy as np

from wit_builder.compiled import compiled

PACKAGE = Path(__file__).resolve().parents[2] / "wit_builder"


def add_one(values):
    return values + 1


def test_compiles_where_no_cache_folder_can_be_written(monkeypatch):
    monkeypatch.setattr(numba.core.caching.CompileResultCacheImpl, "_locator_classes", [])
    function = compiled(add_one)
    assert function(np.arange(3)).tolist() == [1, 2, 3]
    assert function.signatures


def test_compiled_files_take_nothing_from_other_files_of_ours():
    """Numba's cache looks at the file of a function only: a constant imported from another would go stale in it."""
    uses = [path for path in PACKAGE.rglob("*.py") if "@compiled" in path.read_text(encoding="utf-8")]
    assert len(uses) >= 2
    for path in uses:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("wit_builder"):
                assert node.module == "wit_builder.compiled", path
