"""`python -m pipelines.balance_pairs` as its user runs it, against a plain reading of the design's rule."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pools import contract_bytes, matched_uids, pool, read_balanced, selection, write_pairs, write_queries

from pipelines import balance_pairs
from wit_builder import tables, transforms
from wit_builder.balance import passes
from wit_builder.errors import UserError, exit_with

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
    ],
)
def test_wrong_input_is_one_line_and_changes_nothing(world, tmp_path, capsys, flag, value, message):
    folder, _, _ = world
    flags = {"--pairs": folder / "pairs", "--queries": folder / "queries.parquet", "--output": tmp_path / "out"}
    flags[flag] = folder / value
    with pytest.raises(SystemExit) as ended:
        exit_with(lambda: balance_pairs.main([str(word) for pair in flags.items() for word in pair]))
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def table_run(folder, output, *more):
    flags = ["--queries", folder / "queries.parquet", "--cap", "30", "--output", folder / output, *more]
    assert balance_pairs.main([str(flag) for flag in flags]) == 0
    return json.loads((folder / output / "manifest.json").read_text())


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A pool as pairs, as a CSV and a Parquet table, and as both."""
    folder = tmp_path_factory.mktemp("tables")
    rows, queries = pool(600)
    rows = [row for row in rows if row[2]]
    write_pairs(folder / "pairs", rows)
    write_queries(folder / "queries.parquet", queries)
    (folder / "given").mkdir()
    with open(folder / "given" / "a.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([("page", "Image", "alt"), *((row[3], row[1], row[2]) for row in rows[:300]), ("", "", "w0"), ("x",)])
    columns = {"Image": [row[1] for row in rows[250:]], "alt": [row[2] for row in rows[250:]], "page": [row[3] for row in rows[250:]]}
    tables.write_table(str(folder / "given" / "b.parquet"), pa.table(columns))
    return folder, rows, queries


GIVEN = ("--url-column", "Image", "--text-columns", "alt", "--page-column", "page")


def test_pairs_of_tables_are_selected_as_those_of_extraction(given, monkeypatch):
    folder, rows, queries = given
    manifest = table_run(folder, "out", "--tables", folder / "given" / "*", *GIVEN, "--workers", "1")
    assert read_balanced(folder / "out") == selection(rows, queries, 30, 0)
    counts, drops = manifest["counts"], manifest["drops"]
    assert counts["rows of tables"] == len(rows) + 52 and counts["texts used of tables"] == counts["pairs"] == len(rows) + 50
    assert (drops["url_empty"], drops["broken_line"], drops["duplicate uid"]) == (1, 1, 50)
    assert [entry["name"] for entry in manifest["inputs"]["tables"]] == ["a.csv", "b.parquet"]
    before = contract_bytes(folder / "out")
    table_run(folder, "out", "--tables", folder / "given" / "*", *GIVEN)  # whole already
    in_order = transforms.run_tasks
    monkeypatch.setattr(transforms, "run_tasks", lambda work, tasks, _: in_order(work, reversed(list(tasks)), 1))  # as workers may
    table_run(folder, "two", "--tables", folder / "given" / "b.parquet", folder / "given" / "a.csv", *GIVEN)
    assert contract_bytes(folder / "out") == before == contract_bytes(folder / "two")


def test_tables_beside_pairs_and_a_run_that_goes_on(given, monkeypatch):
    folder, rows, queries = given
    flags = ("--tables", folder / "given" / "*", "--pairs", folder / "pairs", *GIVEN, "--workers", "1")
    whole = passes.MatchPart._match
    monkeypatch.setattr(passes.MatchPart, "_match", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        table_run(folder, "both", *flags)
    monkeypatch.setattr(passes.MatchPart, "_match", whole)
    monkeypatch.setattr(passes, "table_batches", lambda *_: 1 / 0)  # what is done is not read again
    manifest = table_run(folder, "both", *flags)
    assert read_balanced(folder / "both") == selection(rows, queries, 30, 0)
    assert manifest["drops"]["duplicate uid"] == 50 + len(rows) and manifest["counts"]["rows of tables"] == len(rows) + 52


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "there are no pairs"),
        (("--pairs", "pairs", "--english"), "flags of tables without a table"),
        (("--tables", "none/*.csv"), "no table there"),
        (("--tables", "given/a.csv"), "no column url .it has page, Image, alt"),
        (("--tables", "given/a.csv", "--text-columns", "alt", "alt"), "a column is there twice"),
        (("--tables", "given/a.csv", "--column-names", "url", "caption"), "text is not one of them"),
    ],
)
def test_flags_of_tables_that_make_no_sense(given, monkeypatch, flags, message):
    folder, _, _ = given
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match=message):
        balance_pairs.main(["--queries", "queries.parquet", "--output", "never", *flags])
    assert not (folder / "never").exists()
