"""Balancing as a whole: the same whatever the files, workers and runner, and exact where windows miss."""

import json

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from pools import contract_bytes, matched_uids, pair_hash, pool, read_balanced, selection, write_files, write_pairs, write_queries

from wit_builder import tables
from wit_builder.balance import merge, parts, passes
from wit_builder.balance.transforms import BalancePairs
from wit_builder.errors import UserError, user_message
from wit_builder.outputs import Output


def run(folder, out, number=2, *, pairs=("pairs",), processes=1, cap=20, seed=0, method="cap"):
    sources = [path for name in pairs for path in tables.find(str(folder / name), "pairs")]
    output = Output(str(folder / out), "balance_pairs", {"cap": cap, "seed": seed, "method": method}, [])
    output.begin()
    with beam.Pipeline(FnApiRunner()) as pipeline:
        _ = pipeline | BalancePairs(sources, str(folder / "queries.parquet"), output, number, processes=processes)
    return folder / out


def run_by_hand(folder, out, number=2, *, cap=20, seed=0, method="cap"):
    """The same passes without Beam and report: the bytes of the balanced pairs."""
    work, output = str(folder / out / ".work"), str(folder / out)
    listed = parts.whole_parts(tables.find(str(folder / "pairs"), "pairs"), number)

    def each(work):
        loaded = work.load()
        for part in listed:
            work(loaded, part)

    merge.prepare(str(folder / "queries.parquet"), work, seed)
    each(passes.MatchPart(work))
    merge.merge_counts(work, number, method, cap)
    if method == "cap":
        each(passes.FindWindow(work))
        merge.merge_windows(work, number, cap)
    each(passes.SelectPart(work, output))
    (folder / out / "manifest.json").write_text("{}")
    return balanced_bytes(folder / out)


def balanced_bytes(folder):
    return {path.name: path.read_bytes() for path in folder.glob("balanced-pairs-*.parquet")}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("balance")
    rows, queries = pool(1_200)
    write_queries(folder / "queries.parquet", queries)
    write_pairs(folder / "pairs", rows, 8)
    run(folder, "expected")
    return folder, rows, queries


def test_parts_hold_the_brute_force_selection(world):
    folder, rows, queries = world
    assert read_balanced(folder / "expected") == selection(rows, queries, 20, 0)
    assert len(list((folder / "expected").glob("balanced-pairs-*-of-00002.parquet"))) == 2


@pytest.mark.parametrize("processes", [0, 2])
def test_bytes_do_not_depend_on_workers_or_runner(world, processes):
    folder, _, _ = world
    assert contract_bytes(run(folder, f"processes{processes}", processes=processes)) == contract_bytes(folder / "expected")


def test_bytes_do_not_depend_on_files_and_their_order(world):
    folder, rows, _ = world
    write_files(folder / "one/pairs", [rows[:400][::-1], rows[300:301]])
    write_files(folder / "two/pairs", [rows[400:1000], [], rows[1000:]])
    scattered = run(folder, "scattered", pairs=("two/pairs", "one/pairs"))
    expected = contract_bytes(folder / "expected")
    got = contract_bytes(scattered)
    for name in ("manifest.json", "report.html"):  # these count the pair that both folders hold
        expected.pop(name), got.pop(name)
    assert got == expected
    assert json.loads((scattered / "manifest.json").read_text())["drops"]["duplicate uid"] == 1


def test_another_seed_chooses_otherwise(world):
    folder, rows, queries = world
    run_by_hand(folder, "seed", seed=1)
    assert read_balanced(folder / "seed") == selection(rows, queries, 20, 1) != selection(rows, queries, 20, 0)


def test_a_longer_query_list_and_a_larger_pool_change_only_what_they_must(world):
    folder, rows, queries = world
    more_rows, _ = pool(2_000)
    assert more_rows[:1_200] == rows
    write_queries(folder / "grown/queries.parquet", ["w150", *queries])
    write_pairs(folder / "grown/pairs", more_rows, 2)
    run_by_hand(folder / "grown", "out")
    before, after = read_balanced(folder / "expected"), read_balanced(folder / "grown/out")
    over = {q for q, uids in enumerate(matched_uids(more_rows, queries)) if len(uids) > 20}
    for uid, (_, chosen) in before.items():
        still = {q - 1 for q in after.get(uid, ((), ()))[1]}
        assert set(chosen) - still <= over
        assert still - set(chosen) <= {-1}, "a pair that was passed over is not taken later"


def test_windows_that_miss_are_looked_at_again(world, monkeypatch):
    folder, _, _ = world
    monkeypatch.setattr(merge, "WIDTH", 0.01)
    looks = []
    look_again = merge._look_again
    monkeypatch.setattr(merge, "_look_again", lambda *args: (looks.append(len(args[-1])), look_again(*args)))
    assert run_by_hand(folder, "narrow") == balanced_bytes(folder / "expected")
    assert looks[0] > 0


def test_windows_are_merged_some_queries_at_a_time(world, monkeypatch):
    folder, _, _ = world
    whole = merge.merge_windows
    monkeypatch.setattr(merge, "merge_windows", lambda *args: whole(*args, entries_at_once=50))
    assert run_by_hand(folder, "ranges") == balanced_bytes(folder / "expected")


def test_a_run_that_broke_off_goes_on(world, monkeypatch):
    folder, _, _ = world
    with monkeypatch.context() as broken:
        broken.setattr(merge, "merge_windows", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_by_hand(folder, "again")
    monkeypatch.setattr(passes.MatchPart, "_match", lambda *_: pytest.fail("a part that was done is done again"))
    assert contract_bytes(run(folder, "again")) == contract_bytes(folder / "expected")


def test_probabilistic_keeps_each_match_by_chance(world):
    folder, rows, queries = world
    run_by_hand(folder, "chance", method="probabilistic")
    expected = {}
    for q, uids in enumerate(matched_uids(rows, queries)):
        limit = (20 << 64) // max(20, len(uids))
        for uid in uids:
            if pair_hash(0, queries[q], uid) < limit:
                expected.setdefault(uid, []).append(q)
    assert {uid: chosen for uid, (_, chosen) in read_balanced(folder / "chance").items()} == expected


def test_misplaced_and_malformed_uids_are_named(tmp_path):
    rows, queries = pool(600)
    write_queries(tmp_path / "queries.parquet", queries)
    write_pairs(tmp_path / "pairs", rows, 2)
    names = tables.find(str(tmp_path / "pairs"), "pairs")
    table = tables.read_table(names[0])
    stray = tables.read_table(names[1]).slice(0, 1)
    tables.write_table(names[0], pa.concat_tables([table, stray]))
    with pytest.raises(Exception) as caught:
        run(tmp_path, "out", 2)
    assert "pairs-00000-of-00002.parquet: some pairs lie in another file" in user_message(caught.value)
    with pytest.raises(UserError, match="a.parquet: a uid is not 32 lower-case hex digits"):
        parts.parse_uids(pa.array([rows[0][0].upper()]), "a.parquet")
    with pytest.raises(UserError, match="not 32"):
        parts.parse_uids(pa.array([rows[0][0], None]), "a.parquet")
