"""Who may import whom (docs/architecture.md): no circles, and Beam and torch only where they belong."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {
    "wit_builder": set(),
    "queries": {"wit_builder"},
    "learning": {"wit_builder"},
    "dedup": {"wit_builder", "learning"},
    "trainer": {"wit_builder", "learning"},
    "sample_world": {"wit_builder"},
    "pipelines": {"wit_builder", "queries", "dedup", "trainer", "learning", "sample_world"},
}
BEAM_FILES = {"transforms.py", "counting.py"}


def imports_of(path: Path, *, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module)
    return found


@pytest.mark.parametrize("package", ALLOWED)
def test_packages_import_only_what_they_may(package):
    for path in (ROOT / package).rglob("*.py"):
        siblings = {name.split(".")[0] for name in imports_of(path)} & set(ALLOWED)
        assert siblings <= ALLOWED[package] | {package}, path


def test_sample_world_serves_only_demo_and_tests():
    for path in (ROOT / "pipelines").rglob("*.py"):
        if path.name not in ("demo.py", "demo_summary.py"):
            assert not any(name.split(".")[0] == "sample_world" for name in imports_of(path)), path


@pytest.mark.parametrize("package", [name for name in ALLOWED if name != "pipelines"])
def test_beam_only_in_transforms(package):
    for path in (ROOT / package).rglob("*.py"):
        if path.name in BEAM_FILES:
            continue
        # remote.py reaches Beam's filesystems from inside functions, only when such a path is met.
        names = imports_of(path, top_level_only=path == ROOT / "wit_builder" / "remote.py")
        assert not any(name.split(".")[0] == "apache_beam" for name in names), path


@pytest.mark.parametrize("package", ["wit_builder", "queries", "sample_world", "pipelines"])
def test_torch_only_in_learning_dedup_and_trainer(package):
    for path in (ROOT / package).rglob("*.py"):
        assert not any(name.split(".")[0] == "torch" for name in imports_of(path)), path


@pytest.mark.parametrize("package", ["wit_builder", "queries"])
def test_importing_brings_neither_beam_nor_torch(package):
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / package).rglob("*.py")
        if path.name not in BEAM_FILES and path.name != "__main__.py"
    ]
    code = "\n".join([
        "import importlib, sys",
        f"for name in {modules!r}: importlib.import_module(name)",
        "assert not {'apache_beam', 'torch'} & set(sys.modules)",
    ])
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
