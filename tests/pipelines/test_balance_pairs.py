"""`python -m pipelines.balance_pairs` as its user runs it, against a plain reading of the design's rule."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pools import contract_bytes, matched_uids, pool, read_balanced, selection, write_pairs, write_queries

from pipelines import balance_pairs
from wit_builder import tables
from wit_builder.errors import exit_with

ROOT = Path(__file__).resolve().parent.parent.parent


def balance(*arguments):
    command = [sys.executable, "-m", "pipelines.balance_pairs", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("balance")
    rows, queries = pool(1_500)
    # The same pair found on two pages: the smaller page stays.
    again = [(*row[:3], "http://page/0again", "b.warc") for row in rows[:40]]
    write_pairs(folder / "pairs", rows + again)
    write_queries(folder / "queries.parquet", queries)
    return folder, rows, queries


def test_selection_is_the_brute_force_one(world):
    folder, rows, queries = world
    done = balance("--pairs", folder / "pairs", "--queries", folder / "queries.parquet", "--cap", 30, "--output", folder / "out")
    assert done.returncode == 0, done.stderr
    assert read_balanced(folder / "out") == selection(rows, queries, 30, 0)
    got = tables.read_table(tables.find(str(folder / "out"), "balanced-pairs")[0]).to_pylist()
    assert [row["uid"] for row in got] == sorted(row["uid"] for row in got)
    pages = {row[0]: row[3] for row in rows} | {row[0]: "http://page/0again" for row in rows[1:40]} | {rows[0][0]: "http://page/0"}
    assert {row["uid"]: row["page_url"] for row in got} == {row["uid"]: pages[row["uid"]] for row in got}
    matched = [len(uids) for uids in matched_uids(rows, queries)]
    counts = tables.read_table(str(folder / "out" / "query-counts.parquet")).to_pylist()
    assert [row["matched"] for row in counts] == matched
    assert [row["selected"] for row in counts] == [min(30, number) for number in matched]
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    assert manifest["counts"]["pairs"] == 1_540 == len(got) + sum(manifest["drops"].values())
    assert manifest["drops"]["duplicate uid"] == 40
    assert manifest["counts"]["queries over the cap"] == sum(number > 30 for number in matched)
    assert not (folder / "out" / ".work").exists()
    before = contract_bytes(folder / "out")
    again = balance("--pairs", folder / "pairs", "--queries", folder / "queries.parquet", "--cap", 30, "--output", folder / "out")
    assert (again.returncode, contract_bytes(folder / "out")) == (0, before)
    assert "is whole already" in again.stderr


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--pairs", "none", "no such folder"),
        ("--queries", "none.parquet", "no such file"),
        ("--queries", "pairs/pairs-00000-of-00002.parquet", "no column query_id, query, tokens"),
        ("--cap", "0", "the cap must be at least 1"),
    ],
)
def test_wrong_input_is_one_line_and_changes_nothing(world, tmp_path, capsys, flag, value, message):
    folder, _, _ = world
    flags = {"--pairs": folder / "pairs", "--queries": folder / "queries.parquet", "--output": tmp_path / "out"}
    flags[flag] = value if flag == "--cap" else folder / value
    with pytest.raises(SystemExit) as ended:
        exit_with(lambda: balance_pairs.main([str(word) for pair in flags.items() for word in pair]))
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()
