import bz2
import gzip
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wit_builder.errors import UserError
from wit_builder.hashing import pair_uid
from wit_builder.pairs import table_pairs, table_rows
from wit_builder.pairs.table_pairs import EACH, TableRules, join, pairs_of_row, table_batches
from wit_builder.pairs.table_rows import WRONG, Columns, plan

URL = "http://a.test/1.jpg"


def rules(*texts, **more):
    columns = {name: more.pop(name) for name in ("url", "page", "names") if name in more}
    return TableRules(Columns(columns.pop("url", "url"), texts or ("text",), **columns), **more)


def read(path, chosen):
    """Rows, counts and drops of a table."""
    tasks, _ = plan([(str(path), path.name)], chosen.columns)
    counts, drops = Counter(), Counter()
    rows = [row for task in tasks for table in table_batches(task, chosen, counts, drops) for row in table.to_pylist()]
    assert counts["texts of tables"] == counts["texts used of tables"] + drops.total()
    return rows, counts, dict(drops)


@pytest.mark.parametrize(
    ("url", "texts", "pairs", "dropped"),
    [
        (URL, ["a  dog\n"], [(URL, "a dog")], []),
        ("HTTP://A.test:80/x/../1.jpg#top", ["a\0b"], [(URL, "a\ufffdb")], []),
        (None, ["a dog"], [], ["no_url"]),
        ("", ["a dog"], [], ["url_empty"]),
        ("1.jpg", ["a", "b"], [], ["url_relative_without_base"] * 2),
        ("ftp://a.test/1", ["a", None], [], ["url_not_http"]),
        ("http://a.test/blank.gif", ["a"], [], ["url_placeholder"]),
        ("http://a b/", ["a"], [], ["url_invalid"]),
        (WRONG, ["a"], [], ["url_wrong_type"]),
        (URL, [None, None], [], ["text_missing"]),
        (URL, [" ", WRONG, "x" * 8193], [], ["text_empty", "text_wrong_type", "text_too_long"]),
        (URL, ["a", "b."], [(URL, "a. b.")], []),
    ],
)
def test_rows_become_pairs_by_the_rules_of_extraction(url, texts, pairs, dropped):
    found, used, why = pairs_of_row(url, texts, rules())
    assert (found, why) == (pairs, dropped) and used == sum(map(bool, texts)) * bool(pairs)


def test_what_passes_of_a_row_is_joined_or_stands_for_itself():
    texts = ["IMG_0042.JPG", "two dogs on the beach", "zwei Hunde laufen am Strand", "Seen with my sister in the morning"]
    asked = {"file_names": True, "english": 0.8}
    joined = "two dogs on the beach. Seen with my sister in the morning"
    assert pairs_of_row(URL, texts, rules(**asked)) == ([(URL, joined)], 2, ["file_name", "not_english"])
    each, used, _ = pairs_of_row(URL, texts, rules(texts=EACH, **asked))
    assert [text for _, text in each] == [texts[1], texts[3]] and used == 2
    assert pairs_of_row(URL, ["a+red%20dog%21"], rules(url_encoded=True))[0] == [(URL, "a red dog!")]


def test_joined_texts_are_there_once_and_not_too_long():
    assert join(["Old lighthouse", "old LIGHTHOUSE!", "By the sea?", "Yes"]) == "Old lighthouse. By the sea? Yes"
    assert join(["a" * 5000, "b" * 5000, "c"]) == "a" * 5000 + ". c"


CSV = (
    b'\xef\xbb\xbfid,url,text,page\n1,http://a.test/1,"two\nlines, one text",http://p.test/#x\n2,http://a.test/2,caf\xc3\xa9 \xff\n\n'
    b'3,http://a.test/3,"said ""so""",\n4,http://a.test/4,"never ends\n' + b"x" * 200_000 + b"\n5,http://a.test/5,last,no page\n"
)


@pytest.mark.parametrize(("name", "pack"), [("t.csv", bytes), ("t.csv.gz", gzip.compress), ("T.CSV.bz2", bz2.compress)])
def test_csv_is_read_whatever_stands_in_it(tmp_path, name, pack):
    (tmp_path / name).write_bytes(pack(CSV))
    rows, counts, drops = read(tmp_path / name, rules(page="page"))
    assert [(row["url"], row["text"], row["page_url"]) for row in rows] == [
        ("http://a.test/1", "two lines, one text", "http://p.test/"),
        ("http://a.test/3", 'said "so"', ""),
        ("http://a.test/5", "last", ""),
    ]
    assert rows[0]["uid"] == pair_uid("http://a.test/1", "two lines, one text") and rows[0]["source_file"] == name
    assert drops == {"broken_line": 2} and counts["rows of tables"] == 5


def test_tab_separated_files_know_no_quotation_marks_and_need_no_names(tmp_path):
    (tmp_path / "cc.tsv").write_text('"a dog\thttp://a.test/1\nno url\n it\'s "it"\thttp://a.test/2\n')
    rows, _, drops = read(tmp_path / "cc.tsv", rules("caption", names=("caption", "url")))
    assert [row["text"] for row in rows] == ['"a dog', 'it\'s "it"'] and drops == {"broken_line": 1}


def test_a_line_without_end_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(table_rows, "LONGEST_LINE", 1000)
    (tmp_path / "t.csv").write_text("url,text\n" + "x" * 5000 + "\nhttp://a.test/1,a dog\n")
    rows, _, drops = read(tmp_path / "t.csv", rules())
    assert [row["text"] for row in rows] == ["a dog"] and drops == {"broken_line": 5}


def test_parquet_of_any_text_type(tmp_path):
    urls = pa.array([b"http://a.test/1", b"http://a.test/\xff", None], pa.binary())
    table = pa.table({
        "URL": urls,
        "title": pa.array(["a", "b", "a"]).dictionary_encode(),
        "text": pa.array(["one", None, "three"], pa.large_string()),
        "n": pa.array([1, None, 3]),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "t.parquet")
    rows, _, drops = read(tmp_path / "t.parquet", rules("title", "text", "n", url="URL"))
    assert [(row["url"], row["text"]) for row in rows] == [("http://a.test/1", "a. one"), ("http://a.test/%EF%BF%BD", "b")]
    assert drops == {"text_wrong_type": 2, "no_url": 2}


def test_row_groups_make_tasks_and_large_texts_small_tables(tmp_path, monkeypatch):
    monkeypatch.setattr(table_rows, "TASK_ROWS", 25)
    monkeypatch.setattr(table_pairs, "RUN_CHARACTERS", 100)
    table = pa.table({"url": [f"http://a.test/{n}" for n in range(60)], "text": [f"text {n}" for n in range(60)]})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=10)
    tasks, rows = plan([(str(tmp_path / "t.parquet"), "t")], rules().columns)
    assert [task.groups for task in tasks] == [(0, 2), (2, 4), (4, 6)] and [task.number for task in tasks] == [0, 1, 2] and rows == 60
    made = [table for task in tasks for table in table_batches(task, rules(), Counter(), Counter())]
    assert [row["text"] for table in made for row in table.to_pylist()] == table["text"].to_pylist()
    assert max(table.num_rows for table in made) <= 5


def test_what_came_before_a_break_is_kept(tmp_path):
    lines = "".join(f"http://a.test/{n},text {n * 7919 % 1009}\n" for n in range(20_000))
    packed = gzip.compress(b"url,text\n" + lines.encode())
    (tmp_path / "t.csv.gz").write_bytes(packed[: len(packed) // 2])
    rows, counts, _ = read(tmp_path / "t.csv.gz", rules())
    assert 1000 < len(rows) < 20_000 and rows[0]["text"] == "text 0" and counts["tables cut off"] == 1


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("t.csv", b"a,b\n1,2\n", r"no column url .it has a, b"),
        ("t.csv", b"", "no column url .it has none"),
        ("t.csv", b"url,url,text\n", "twice a column url"),
        ("t.json", b"{}", "neither Parquet nor CSV"),
        ("t.parquet", b"PAR1", "not a whole Parquet file"),
        ("t.csv.gz", b"no gzip", "cannot be read"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_clear_error(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=message):
        plan([(str(tmp_path / name), name)], rules().columns)
