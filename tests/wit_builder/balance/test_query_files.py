import pyarrow as pa
import pytest

from wit_builder import tables
from wit_builder.balance.merge import check_queries
from wit_builder.errors import UserError
from wit_builder.records import QUERIES

ROWS = [
    {"query_id": number, "query": word, "tokens": [word], "source": "unigram", "count": 3, "score": 0.0}
    for number, word in enumerate(("a", "b"))
]
WHOLE = pa.Table.from_pylist(ROWS, QUERIES)


def with_column(name, values):
    place = WHOLE.column_names.index(name)
    return WHOLE.set_column(place, name, values)


@pytest.mark.parametrize(
    "table, said",
    [
        (WHOLE.slice(0, 0), "there is no query"),
        (with_column("query_id", pa.array([0, 2])), "the queries are not numbered from 0"),
        (with_column("query_id", pa.array(["x", "y"])), "the column query_id holds string"),
        (with_column("tokens", pa.array([["a"], None])), "a query has no tokens"),
        (with_column("tokens", pa.array([["a"], [None]], pa.list_(pa.string()))), "a query has no tokens"),
        (with_column("tokens", pa.array([1, 2])), "the column tokens holds int64"),
    ],
)
def test_a_list_that_build_queries_did_not_write_is_refused_before_any_work(tmp_path, table, said):
    path = str(tmp_path / "q.parquet")
    tables.write_table(path, table)
    with pytest.raises(UserError, match=f"q.parquet: {said}"):
        check_queries(path)


def test_a_whole_list_is_taken(tmp_path):
    tables.write_table(str(tmp_path / "q.parquet"), WHOLE)
    check_queries(str(tmp_path / "q.parquet"))
