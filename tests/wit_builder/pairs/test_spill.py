import random

import pyarrow as pa
import pytest

from wit_builder.hashing import pair_uid
from wit_builder.pairs.merge import hosts_of, merge
from wit_builder.pairs.spill import PARTITION_BYTES, SpillWriter, partition_of, partitions_for


def rows(number: int) -> list[tuple[str, str, str, str, str]]:
    """(url, text, page_url, source_file, text_source), many of them duplicates of others."""
    chance = random.Random(1)
    return [
        (f"http://h{chance.randrange(5)}/{chance.randrange(40)}", f"t{chance.randrange(3)}", f"http://p/{chance.randrange(9)}",
         f"{chance.randrange(4)}.warc", chance.choice(["alt", "title"]))
        for _ in range(number)
    ]  # fmt: skip


def merged(tmp_path, given, *, partitions, run_rows, writers=1, merge_rows=10**6):
    writing = [SpillWriter(str(tmp_path), f"run-{index}", partitions, run_rows) for index in range(writers)]
    for index, row in enumerate(given):
        url, text, page, file, source = row
        writing[index % writers].add([(url, text, source)], page, file)
    for writer in writing:
        writer.flush()
    runs = [run for writer in writing for run in writer.runs]
    return [[row for table in merge(runs, part, merge_rows) for row in table.to_pylist()] for part in range(partitions)], len(runs)


@pytest.mark.parametrize(("run_rows", "writers", "merge_rows"), [(10**6, 1, 10**6), (7, 3, 10**6), (50, 2, 60)])
def test_each_pair_once_and_the_smallest_of_it_whatever_the_order(tmp_path, run_rows, writers, merge_rows):
    given = rows(900)
    wanted: dict[str, tuple] = {}
    for url, text, page, file, source in given:
        uid = pair_uid(url, text)
        wanted[uid] = min(wanted.get(uid, (page, file, source)), (page, file, source))
    random.Random(writers).shuffle(given)
    parts, runs = merged(tmp_path, given, partitions=3, run_rows=run_rows, writers=writers, merge_rows=merge_rows)
    assert runs >= min(writers, 2)
    found = [row for part in parts for row in part]
    assert {row["uid"]: (row["page_url"], row["source_file"], row["text_source"]) for row in found} == wanted
    assert len(found) == len(wanted)
    for number, part in enumerate(parts):
        uids = [row["uid"] for row in part]
        assert uids == sorted(uids) and all(int(uid[:16], 16) % 3 == number for uid in uids)
        assert all(row["uid"] == pair_uid(row["url"], row["text"]) for row in part)


def test_partitions_are_of_equal_weight():
    uids = pa.array([pair_uid(str(number), "t") for number in range(1000)])
    places = partition_of(uids, 7)
    assert places.tolist() == [int(uid[:16], 16) % 7 for uid in uids.to_pylist()]
    assert min(map(places.tolist().count, range(7))) > 100


def test_nothing_gives_an_empty_part(tmp_path):
    assert merged(tmp_path, [], partitions=2, run_rows=5)[0] == [[], []]
    parts, _ = merged(tmp_path, rows(1), partitions=2, run_rows=5)
    assert sorted(map(len, parts)) == [0, 1]


def test_partitions_follow_the_input_s_size():
    assert [partitions_for(size) for size in (0, 1, PARTITION_BYTES, 5 * PARTITION_BYTES, 10**15)] == [1, 1, 1, 8, 4096]


def test_hosts(tmp_path):
    given = [("http://a.example/x/y", "t", "", "", ""), ("https://b.example:8/", "t", "", "", "")]
    parts, _ = merged(tmp_path, given, partitions=1, run_rows=9)
    assert hosts_of(pa.chunked_array([[row["url"] for row in parts[0]]])) == {"a.example": 1, "b.example:8": 1}
