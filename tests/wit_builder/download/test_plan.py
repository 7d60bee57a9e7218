import pyarrow as pa
import pyarrow.parquet as pq

from wit_builder import tables
from wit_builder.download import plan as planning
from wit_builder.download.plan import make_plan
from wit_builder.download.planned import Folders
from wit_builder.download.pool import find_pairs
from wit_builder.hashing import pair_uid
from wit_builder.records import BALANCED_PAIRS


def pairs(numbers):
    rows = [(f"http://a.example/{n}", f"text {n}") for n in numbers]
    return pa.table(
        [[pair_uid(*row) for row in rows], [url for url, _ in rows], [text for _, text in rows], ["p"] * len(rows), ["f"] * len(rows),
         [[n] for n in numbers], [[n] for n in numbers]],
        schema=BALANCED_PAIRS,
    )  # fmt: skip


def planned(folder, plan):
    return [tables.read_table(shard.pairs)["uid"].to_pylist() for shard in plan.shards]


def test_pairs_are_cut_by_rank_of_uid_whatever_files_and_partitions(tmp_path, monkeypatch):
    numbers = list(range(1000))
    wanted = sorted(pair_uid(f"http://a.example/{n}", f"text {n}") for n in numbers)
    for name, parts, rows in (("one", 1, 1_000_000), ("many", 7, 90)):
        monkeypatch.setattr(planning, "_PARTITION_ROWS", rows)
        paths = []
        for part in range(parts):
            paths.append(str(tmp_path / f"{name}-{part}.parquet"))
            pq.write_table(pairs(numbers[part::parts] + numbers[:20]), paths[-1])
        folder = tmp_path / name
        folder.mkdir()
        plan = make_plan(paths, name, Folders(str(folder), str(folder / ".work")), 300)
        found = planned(folder, plan)
        assert [len(uids) for uids in found] == [300, 300, 300, 100]
        assert sum(found, []) == wanted
        assert plan.counts["pairs_repeated"] == plan.counts["pairs_read"] - 1000


def test_columns_by_other_names_are_taken_and_rows_without_url_counted(tmp_path):
    path = tmp_path / "laion.parquet"
    pq.write_table(pa.table({"URL": ["http://a/ 1", None, "http://a/2"], "TEXT": ["  a \n dog", "x", None]}), path)
    plan = make_plan(find_pairs(str(path)), 1, Folders(str(tmp_path / "out"), str(tmp_path / "out/.work")), 10)
    rows = tables.read_table(plan.shards[0].pairs).to_pylist()
    assert {(row["url"], row["text"]) for row in rows} == {("http://a/ 1", "a dog"), ("http://a/2", "")}
    assert {row["uid"] for row in rows} == {pair_uid("http://a/ 1", "a dog"), pair_uid("http://a/2", "")}
    assert plan.counts["pairs_without_url"] == 1
