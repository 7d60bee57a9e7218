"""Made pools of pairs, and the design's selection rule read plainly, in Python, without any of the compiled code."""

import json
import random

import pyarrow as pa

from wit_builder import records, tables
from wit_builder.hashing import hash64, pair_uid
from wit_builder.text import tokens

MASK = (1 << 64) - 1


def write_queries(path, queries):
    columns = [range(len(queries)), queries, [tokens(query) for query in queries], ["unigram"] * len(queries)]
    zeros = [[0] * len(queries), [0.0] * len(queries)]
    tables.write_table(str(path), pa.table([pa.array(column) for column in (*columns, *zeros)], schema=records.QUERIES))


def write_pairs(folder, rows, number=2):
    """Pairs as extract_pairs leaves them."""
    write_files(folder, [sorted(row for row in rows if int(row[0][:16], 16) % number == n) for n in range(number)])


def write_files(folder, files):
    """Pairs in files as given, placed by no rule."""
    folder.mkdir(parents=True)
    for n, rows in enumerate(files):
        table = pa.Table.from_pylist([dict(zip(records.PAIRS.names, row)) for row in rows], schema=records.PAIRS)
        tables.write_table(str(folder / tables.numbered("pairs", n, len(files))), table)
    (folder / "manifest.json").write_text(json.dumps({"stage": "extract_pairs"}))


def pool(size, seed=0):
    """Rows of pairs, and queries of which a few match very many."""
    chance = random.Random(seed)
    words = [f"w{i}" for i in range(200)]
    rows = []
    for i in range(size):
        text = " ".join(words[min(199, int(chance.paretovariate(0.7)) - 1)] for _ in range(chance.randint(0, 6)))
        url = f"http://host/{i}.jpg"
        rows.append((pair_uid(url, text), url, text, f"http://page/{i}", "a.warc"))
    return rows, words[:120] + ["w0 w0", "w0 w1", "w1 w0 w0", "nothing here"]


def _mix(x):
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & MASK
    return x ^ x >> 31


def pair_hash(seed, form, uid):
    """Hash of a query's normal form and a pair."""
    return _mix(_mix(hash64("cap", seed, form) ^ int(uid[:16], 16)) ^ int(uid[16:], 16))


def matched_uids(rows, queries):
    """The uids that each query matches."""
    spaced = {row[0]: f" {' '.join(tokens(row[2]))} " for row in rows}
    return [[uid for uid, text in spaced.items() if f" {query} " in text] for query in queries]


def selection(rows, queries, cap, seed):
    """uid -> (queries that match, queries that selected it)."""
    matched = matched_uids(rows, queries)
    by = {}
    for q, uids in enumerate(matched):
        for uid in sorted(uids, key=lambda uid: (pair_hash(seed, queries[q], uid), uid))[:cap]:
            by.setdefault(uid, []).append(q)
    every = [set(uids) for uids in matched]
    return {uid: ([q for q, uids in enumerate(every) if uid in uids], chosen) for uid, chosen in by.items()}


def read_balanced(folder):
    """uid -> (query_ids, selected_by) of an output folder."""
    found = pa.concat_tables([tables.read_table(path) for path in tables.find(str(folder), "balanced-pairs")]).to_pylist()
    return {row["uid"]: (row["query_ids"], row["selected_by"]) for row in found}


def contract_bytes(folder):
    """Every file of an output folder that must be the same in every run."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "run.json"}
