import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wit_builder import tables
from wit_builder.errors import UserError


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 100_000), max_size=12))
def test_same_rows_give_same_bytes_however_they_are_batched(tmp_path_factory, sizes):
    folder = tmp_path_factory.mktemp("tables")
    table = pa.table({"n": pa.array(range(sum(sizes)), pa.int64())})
    batches, start = [], 0
    for size in sizes:
        batches.append(table.slice(start, size))
        start += size
    rows = tables.write_batches(str(folder / "a.parquet"), table.schema, batches)
    tables.write_table(str(folder / "b.parquet"), table)
    assert rows == table.num_rows
    assert (folder / "a.parquet").read_bytes() == (folder / "b.parquet").read_bytes()
    assert tables.read_table(str(folder / "a.parquet")).equals(table)


def test_missing_columns_and_broken_files_are_named(tmp_path):
    path = str(tmp_path / "t.parquet")
    tables.write_table(path, pa.table({"a": [2, 1]}), sort_by=["a"])
    assert tables.read_table(path, ["a"]).to_pydict() == {"a": [1, 2]}
    with pytest.raises(UserError, match=r"t\.parquet: no column url \(it has a\)"):
        tables.read_table(path, ["url"])
    (tmp_path / "t.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(UserError, match="not a whole Parquet file"):
        tables.read_table(path)
    with pytest.raises(UserError, match="no such file"):
        tables.read_table(str(tmp_path / "none.parquet"))


def test_failed_write_leaves_nothing(tmp_path):
    def batches():
        yield pa.table({"a": [1]})
        raise RuntimeError("full")

    with pytest.raises(RuntimeError):
        tables.write_batches(str(tmp_path / "t.parquet"), pa.schema([("a", pa.int64())]), batches())
    assert list(tmp_path.iterdir()) == []


def test_a_file_with_broken_pages_or_names_is_one_clear_error(tmp_path):
    path = tmp_path / "t.parquet"
    tables.write_table(str(path), pa.table({"name": [f"text {number * 7919 % 1009}" for number in range(5000)]}))
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + bytes(len(whole) // 2) + whole[4 + len(whole) // 2 :])
    for read in (tables.read_table, lambda path: list(tables.read_batches(path))):
        with pytest.raises(UserError, match="t.parquet: broken inside"):
            read(str(path))
    path.write_bytes(whole.replace(b"name", b"n\xc5me"))
    with pytest.raises(UserError, match="t.parquet: not a whole Parquet file"):
        tables.read_table(str(path))


def test_columns_are_cast_or_named(tmp_path):
    schema = pa.schema([("url", pa.string()), ("n", pa.int64())])
    given = pa.table({"n": pa.array([1, 2], pa.int8()), "more": [0, 0], "url": pa.array(["a", "b"]).dictionary_encode()})
    assert tables.cast(given, schema, "t.parquet").to_pydict() == {"url": ["a", "b"], "n": [1, 2]}
    for wrong in (["a", "b"], [1.5, 2], [[1], [2]]):
        with pytest.raises(UserError, match="t.parquet: the column n holds"):
            tables.cast(pa.table({"url": ["a", "b"], "n": wrong}), schema, "t.parquet")
