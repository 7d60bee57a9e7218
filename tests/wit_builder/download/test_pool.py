import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wit_builder import tables
from wit_builder.download.open_shard import open_planned, reopen, write
from wit_builder.download.plan import make_plan
from wit_builder.download.planned import Folders
from wit_builder.download.pool import PairColumns, find_pairs, planned_schema, read_pairs
from wit_builder.errors import UserError
from wit_builder.hashing import pair_uid
from wit_builder.shards import find_shards, read_samples

ROWS = [("http://a.example/1", "a dog"), ("http://a.example/2", "a cat")]


def read(path, columns=PairColumns()):
    rows, without = [], 0
    for file in find_pairs(str(path), columns):
        for table, missing in read_pairs(file, columns):
            rows += table.to_pylist()
            without += missing
    return [(row["uid"], row["url"], row["text"]) for row in rows], without


def named(rows):
    return [(pair_uid(*row), *row) for row in rows]


@pytest.mark.parametrize("uids", [["x-1", "x-2"], [0, 1], ["0" * 32, None], ["0" * 32, "F" * 32]])
def test_names_that_are_no_uids_of_ours_are_not_taken_over(tmp_path, uids):
    pq.write_table(pa.table({"url": [url for url, _ in ROWS], "text": [text for _, text in ROWS], "uid": uids}), tmp_path / "some.parquet")
    assert read(tmp_path / "some.parquet") == (named(ROWS), 0)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_uids_of_32_hex_digits_are_kept(tmp_path, kind):
    uids = ["0" * 32, "f" * 32]
    columns = {"url": [url for url, _ in ROWS], "text": [text for _, text in ROWS], "uid": uids}
    pq.write_table(pa.table({name: pa.array(values, kind) for name, values in columns.items()}), tmp_path / "some.parquet")
    assert [uid for uid, _, _ in read(tmp_path / "some.parquet")[0]] == uids


def test_a_folder_that_no_stage_wrote_gives_all_its_tables(tmp_path):
    for number, (url, text) in enumerate(ROWS):
        pq.write_table(pa.table({"URL": [url], "TEXT": [text], "similarity": [0.3]}), tmp_path / f"part-{number}.parquet")
    (tmp_path / "README.md").write_text("url,text")
    assert read(tmp_path) == (named(ROWS), 0)
    (tmp_path / "run.json").write_text("{}")  # now it is a stage's, which was not finished
    with pytest.raises(UserError, match="no manifest.json"):
        find_pairs(str(tmp_path))


def test_a_folder_without_tables_is_refused(tmp_path):
    (tmp_path / "README.md").write_text("url,text")
    with pytest.raises(UserError, match="no other tables"):
        find_pairs(str(tmp_path))


def test_columns_by_any_name(tmp_path):
    pq.write_table(pa.table({"image_url": [ROWS[0][0]], "alt": [ROWS[0][1]], "text": ["not this"]}), tmp_path / "some.parquet")
    with pytest.raises(UserError, match="no column url or URL .it has image_url, alt, text.*--url-column"):
        find_pairs(str(tmp_path))
    assert read(tmp_path, PairColumns("image_url", "alt")) == (named(ROWS[:1]), 0)


def test_csv_and_tsv_with_and_without_a_line_of_names(tmp_path):
    (tmp_path / "some.csv").write_text('caption,url\n"a, dog",http://a.example/1\nshort\n,http://a.example/2\n')
    assert read(tmp_path / "some.csv") == (named([("http://a.example/1", "a, dog"), ("http://a.example/2", "")]), 1)
    with gzip.open(tmp_path / "cc12m.tsv.gz", "wt") as stream:
        stream.write("http://a.example/1\ta \"dog\n\tno address\n")
    assert read(tmp_path / "cc12m.tsv.gz", PairColumns(names=("url", "caption"))) == (named([("http://a.example/1", 'a "dog')]), 1)


def test_a_table_that_breaks_off_is_told(tmp_path):
    with gzip.open(tmp_path / "some.csv.gz", "wt") as stream:
        stream.write("url,text\n" + "".join(f"http://a.example/{n},text {n * 7919}\n" for n in range(5000)))
    whole = (tmp_path / "some.csv.gz").read_bytes()
    (tmp_path / "some.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="breaks off"):
        read(tmp_path / "some.csv.gz")


KEPT = ("similarity", "width_there", "tags", "nsfw", "image")


def with_more(folder):
    table = {
        "url": [url for url, _ in ROWS],
        "text": [text for _, text in ROWS],
        "similarity": pa.array([0.25, float("nan")], pa.float32()),
        "width_there": pa.array([640, None], pa.int16()),
        "tags": [["a", "é"], None],
        "nsfw": [False, True],
        "image": ["one", "two"],
    }
    pq.write_table(pa.table(table), folder / "some.parquet")
    return [str(folder / "some.parquet")], PairColumns(kept=KEPT)


def test_kept_columns_reach_the_shards_and_shards_made_again(tmp_path):
    pairs, columns = with_more(tmp_path)
    folders = Folders(str(tmp_path / "out"), str(tmp_path / "out/.work"))
    plan = make_plan(pairs, 1, folders, 10, columns)
    shard = open_planned(plan.shards[0])
    saved = [row.url for row in shard.rows].index(ROWS[0][0])
    shard.rows[saved].status, shard.rows[1 - saved].error_message = "success", "timeout"
    shard.rows[saved].original_width = shard.rows[saved].original_height = 100
    shard.keep(saved, b"jpeg")
    write(folders, shard, "jpg")
    (paths,) = find_shards(folders.output)
    wanted = {
        ROWS[0][0]: {"similarity": 0.25, "width_there": 640, "tags": '["a", "é"]', "nsfw": False, "image": "one"},
        ROWS[1][0]: {"similarity": None, "width_there": None, "tags": None, "nsfw": True, "image": "two"},
    }

    def check():
        table = tables.read_table(paths.parquet)
        assert {row["url"]: {name: row[name] for name in KEPT} for row in table.to_pylist()} == wanted
        assert [table.schema.field(name).type for name in KEPT] == [pa.float64(), pa.int64(), pa.string(), pa.bool_(), pa.string()]
        (sample,) = read_samples(paths)
        assert {name: sample.metadata[name] for name in KEPT} == wanted[ROWS[0][0]]

    check()
    before = [open(path, "rb").read() for path in (paths.tar, paths.parquet)]
    again = reopen(0, paths)
    again.rows[1 - saved].error_message = "timeout"
    write(folders, again, "jpg")
    check()
    assert [open(path, "rb").read() for path in (paths.tar, paths.parquet)] == before


def test_kept_columns_of_csv_are_texts(tmp_path):
    (tmp_path / "some.csv").write_text("url,text,similarity\nhttp://a.example/1,a dog,0.25\n")
    columns = PairColumns(kept=("similarity",))
    (path,) = find_pairs(str(tmp_path / "some.csv"), columns)
    ((table, _),) = read_pairs(path, columns, planned_schema([path], columns))
    assert table["similarity"].to_pylist() == ["0.25"]


@pytest.mark.parametrize("kept, said", [(("url",), "hold url"), (("nsfw", "nsfw"), "a column twice"), (("lost",), "no column lost")])
def test_columns_that_cannot_be_kept_are_refused(tmp_path, kept, said):
    pairs, _ = with_more(tmp_path)
    with pytest.raises(UserError, match=said):
        planned_schema(find_pairs(pairs[0], PairColumns(kept=kept)), PairColumns(kept=kept))


@pytest.mark.parametrize("changed", [{"url": [["a"]]}, {"text": [b"\xff"]}, {"query_ids": ["first"]}])
def test_a_column_that_holds_something_else_is_named(tmp_path, changed):
    pq.write_table(pa.table({"url": ["http://a.test/"], "text": ["a"], "query_ids": [[1]]} | changed), tmp_path / "p.parquet")
    with pytest.raises(UserError, match=f"p.parquet: the column {next(iter(changed))} holds"):
        list(read_pairs(str(tmp_path / "p.parquet")))


def test_numbers_in_place_of_texts_are_read_as_texts(tmp_path):
    pq.write_table(pa.table({"url": [1, None], "text": [2, 3]}), tmp_path / "p.parquet")
    ((table, without),) = read_pairs(str(tmp_path / "p.parquet"))
    assert (table["url"].to_pylist(), table["text"].to_pylist(), without) == (["1"], ["2"], 1)
