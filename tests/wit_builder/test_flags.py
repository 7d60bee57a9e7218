import argparse
import ast
import math
from pathlib import Path

import pytest

from wit_builder import flags
from wit_builder.flags import Bounded

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("dedup", "learning", "pipelines", "queries", "sample_world", "trainer", "wit_builder")


def read(kind, text):
    parser = argparse.ArgumentParser(prog="x")
    parser.add_argument("--n", type=kind)
    return parser.parse_args([f"--n={text}"]).n


@pytest.mark.parametrize(
    "kind, text, said",
    [
        (flags.POSITIVE, "0", "must be at least 1, not 0"),
        (flags.POSITIVE, "-1", "must be at least 1, not -1"),
        (flags.POSITIVE, "1" * 30, "must be at least 1, and at most 1,000,000,000,000,000,000, not 1"),
        (flags.POSITIVE, "1.5", "invalid int value: '1.5'"),
        (flags.POSITIVE, "many", "invalid int value: 'many'"),
        (flags.POSITIVE, "9" * 5000, "invalid int value"),
        (flags.SEED, "-1", "must be at least 0, and at most 9,223,372,036,854,775,807, not -1"),
        (flags.SEED, str(1 << 63), "must be at least 0, and at most 9,223,372,036,854,775,807, not 9"),
        (flags.PORT, "65536", "must be at least 0, and at most 65,535, not 65536"),
        (flags.SHARE, "nan", "must be above 0, and at most 1, not nan"),
        (flags.SHARE, "0", "must be above 0, and at most 1, not 0"),
        (flags.AMOUNT, "inf", "must be at least 0, and at most 1,000,000,000,000,000,000, not inf"),
        (flags.AMOUNT, "nan", "must be at least 0, not nan"),
        (flags.AMOUNT, "", "invalid float value: ''"),
        (Bounded(float), "nan", "must be a finite number, not nan"),
        (Bounded(float), "-inf", "must be at least -1,000,000,000,000,000,000, not -inf"),
        (Bounded(float, above=0, below=2.5), "2.5", "must be above 0, and below 2.5, not 2.5"),
    ],
)
def test_a_number_out_of_bounds_is_told_with_its_bounds(kind, text, said, capsys):
    with pytest.raises(SystemExit) as ended:
        read(kind, text)
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"x: error: argument --n: {said}")


@pytest.mark.parametrize(
    "kind, text, value",
    [
        (flags.POSITIVE, "1", 1),
        (flags.SEED, str((1 << 63) - 1), (1 << 63) - 1),
        (flags.SHARE, "1", 1.0),
        (flags.AMOUNT, "0", 0.0),
        (Bounded(float), "-2.5", -2.5),
    ],
)
def test_bounds_themselves_are_within(kind, text, value):
    assert read(kind, text) == value


def test_no_float_that_is_none_passes():
    for kind in (Bounded(float), flags.AMOUNT, flags.SHARE, Bounded(float, above=-math.inf, below=math.inf)):
        assert all(kind.problem(value) for value in (math.nan, math.inf, -math.inf))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_number_on_a_command_line_has_bounds(package):
    """`type=int` and `type=float` take 0, -1, nan and inf, which end in a traceback or an endless loop."""
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "type" and isinstance(node.value, ast.Name):
                assert node.value.id not in ("int", "float"), f"{path}:{node.value.lineno}"
