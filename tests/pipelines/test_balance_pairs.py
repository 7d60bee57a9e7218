"""`python -m pipelines.balance_pairs` as its user runs it, against a plain reading of the design's rule."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from wit_builder import records, tables
from wit_builder.hashing import file_of, hash64, pair_uid
from wit_builder.text import tokens

ROOT = Path(__file__).resolve().parent.parent.parent
MASK = (1 << 64) - 1


def balance(*arguments):
    command = [sys.executable, "-m", "pipelines.balance_pairs", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def write_queries(path, queries):
    columns = [range(len(queries)), queries, [tokens(query) for query in queries], ["unigram"] * len(queries)]
    zeros = [[0] * len(queries), [0.0] * len(queries)]
    tables.write_table(str(path), pa.table([pa.array(column) for column in (*columns, *zeros)], schema=records.QUERIES))


def write_pairs(folder, rows, number=2):
    folder.mkdir()
    for n in range(number):
        part = sorted(row for row in rows if file_of(row[0], number) == n)
        table = pa.Table.from_pylist([dict(zip(records.PAIRS.names, row)) for row in part], schema=records.PAIRS)
        tables.write_table(str(folder / tables.numbered("pairs", n, number)), table)
    (folder / "manifest.json").write_text(json.dumps({"stage": "extract_pairs"}))


def pool(size, seed=0):
    chance = random.Random(seed)
    words = [f"w{i}" for i in range(200)]
    rows = []
    for i in range(size):
        text = " ".join(words[min(199, int(chance.paretovariate(0.7)) - 1)] for _ in range(chance.randint(0, 6)))
        url = f"http://host/{i}.jpg"
        rows.append((pair_uid(url, text), url, text, f"http://page/{i}", "a.warc"))
    return rows, words[:120] + ["w0 w0", "w0 w1", "w1 w0 w0", "nothing here"]


def mix(x):
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & MASK
    return x ^ x >> 31


def expected_selection(rows, queries, cap, seed):
    """uid -> (queries that match, queries that selected it), by brute force."""
    matched = {q: [] for q in range(len(queries))}
    for row in rows:
        spaced = f" {' '.join(tokens(row[2]))} "
        for q, query in enumerate(queries):
            if f" {query} " in spaced:
                matched[q].append(row[0])
    kept = {}
    for q, uids in matched.items():
        salt = hash64("cap", seed, queries[q])
        uids.sort(key=lambda uid: (mix(mix(salt ^ int(uid[:16], 16)) ^ int(uid[16:], 16)), uid))
        for uid in uids[:cap]:
            kept.setdefault(uid, []).append(q)
    return {uid: ([q for q in matched if uid in set(matched[q])], by) for uid, by in kept.items()}, matched


def read_balanced(folder):
    return pa.concat_tables([tables.read_table(path) for path in tables.find(str(folder), "balanced-pairs")]).to_pylist()


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
    expected, matched = expected_selection(rows, queries, 30, 0)
    got = read_balanced(folder / "out")
    assert {row["uid"]: (row["query_ids"], row["selected_by"]) for row in got} == expected
    pages = {row[0]: row[3] for row in rows} | {row[0]: "http://page/0again" for row in rows[1:40]} | {rows[0][0]: "http://page/0"}
    assert {row["uid"]: row["page_url"] for row in got} == {row["uid"]: pages[row["uid"]] for row in got}
    counts = tables.read_table(str(folder / "out" / "query-counts.parquet")).to_pylist()
    assert [row["matched"] for row in counts] == [len(matched[q]) for q in range(len(queries))]
    assert [row["selected"] for row in counts] == [min(30, len(matched[q])) for q in range(len(queries))]
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    assert manifest["counts"]["pairs"] == 1_540 == len(got) + sum(manifest["drops"].values())
    assert manifest["drops"]["duplicate uid"] == 40
    assert not (folder / "out" / ".work").exists()


def test_wrong_input_is_one_line(world, tmp_path):
    folder, _, _ = world
    for arguments, message in (
        (["--pairs", tmp_path / "none"], "no such folder"),
        (["--queries", tmp_path / "none.parquet"], "no such file"),
        (["--cap", 0], "the cap must be at least 1"),
    ):
        given = {"--pairs": folder / "pairs", "--queries": folder / "queries.parquet", "--output": tmp_path / "out"}
        given |= dict(zip(arguments[::2], arguments[1::2]))
        done = balance(*(word for pair in given.items() for word in pair))
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "out").exists()
