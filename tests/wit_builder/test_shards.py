import hashlib
import json
import tarfile

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wit_builder.errors import UserError
from wit_builder.hashing import pair_uid
from wit_builder.shards import ShardRow, find_shards, is_whole, read_image, read_samples, read_stats, shard_paths, write_shard


def rows(texts, failing=()):
    made = []
    for index, text in enumerate(texts):
        url = f"http://example.org/{index}.jpg"
        row = ShardRow(pair_uid(url, text), url, text, [index, index + 1])
        if index in failing:
            row.error_message = "http_404"
        else:
            row.status, row.image = "success", bytes([index]) * (500 + 13 * index)
            row.width = row.height = 256
            row.original_width, row.original_height, row.sha256 = 800, 600, hashlib.sha256(text.encode()).hexdigest()
        made.append(row)
    return made


def test_what_is_written_is_read_back(tmp_path):
    stats = write_shard(str(tmp_path), 7, rows(["a dog", "não", "猫"], failing={1}), more={"extra": 1})
    (shard,) = find_shards(str(tmp_path))
    assert shard == shard_paths(str(tmp_path), 7) and shard.name == "00007"
    samples = list(read_samples(shard))
    assert [(sample.key, sample.text) for sample in samples] == [("000070000", "a dog"), ("000070002", "猫")]
    assert samples[1].image == b"\x02" * 526
    assert samples[1].uid == pair_uid("http://example.org/2.jpg", "猫") and samples[1].metadata["query_ids"] == [2, 3]
    assert read_stats(shard) == stats
    assert {name: stats[name] for name in ("count", "successes", "failed_to_download", "failed_to_resize", "extra")} == {
        "count": 3, "successes": 2, "failed_to_download": 1, "failed_to_resize": 0, "extra": 1,
    }  # fmt: skip
    assert stats["status_dict"] == {"success": 2, "http_404": 1}


def test_offsets_lead_to_the_images(tmp_path):
    write_shard(str(tmp_path), 0, rows([f"text {i}" for i in range(20)], failing={3, 19}))
    shard = shard_paths(str(tmp_path), 0)
    table = pq.read_table(shard.parquet).to_pylist()
    images = {sample.key: sample.image for sample in read_samples(shard)}
    with open(shard.tar, "rb") as stream:
        for row in table:
            if row["status"] == "success":
                assert read_image(stream, row["tar_offset"], row["tar_size"]) == images.pop(row["key"])
            else:
                assert row["tar_offset"] is row["tar_size"] is None
    assert not images


def test_bytes_depend_on_the_rows_alone_and_headers_hold_no_trace(tmp_path):
    for name in "ab":
        write_shard(str(tmp_path / name), 1, rows(["x", "y"]))
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    with tarfile.open(tmp_path / "a" / "00001.tar") as tar:
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in tar} == {(0, 0, 0, "", "", 0o644)}


@pytest.mark.parametrize("damage", ["cut tar", "change tar", "no parquet", "no stats", "stats of another", "stats not JSON"])
def test_only_whole_shards_are_found(tmp_path, damage):
    write_shard(str(tmp_path), 0, rows(["x"]))
    write_shard(str(tmp_path), 1, rows(["x", "y"]))
    tar, parquet, stats = (tmp_path / name for name in ("00000.tar", "00000.parquet", "00000_stats.json"))
    if damage == "cut tar":
        tar.write_bytes(tar.read_bytes()[:-1])
    elif damage == "change tar":
        tar.write_bytes(b"z" + tar.read_bytes()[1:])
    elif damage == "no parquet":
        parquet.unlink()
    elif damage == "no stats":
        stats.unlink()
    elif damage == "stats of another":
        stats.write_bytes((tmp_path / "00001_stats.json").read_bytes())
    else:
        stats.write_text("{")
    assert [shard.name for shard in find_shards(str(tmp_path), check_hashes=True)] == ["00001"]
    assert not is_whole(shard_paths(str(tmp_path), 0))


def test_shards_of_img2dataset_are_read(tmp_path):
    write_shard(str(tmp_path), 0, rows(["x"]))
    stats = tmp_path / "00000_stats.json"
    stats.write_text(json.dumps({"count": 1, "successes": 1, "start_time": 1.5}))
    assert [sample.text for sample in read_samples(find_shards(str(tmp_path / "*.tar"))[0])] == ["x"]


def test_a_broken_tar_is_told_in_one_line(tmp_path):
    write_shard(str(tmp_path), 0, rows(["x", "y"]))
    tar = tmp_path / "00000.tar"
    tar.write_bytes(tar.read_bytes()[:700])
    with pytest.raises(UserError, match="00000.tar: not a whole shard"):
        list(read_samples(shard_paths(str(tmp_path), 0)))


def test_missing_shards_and_numbers_too_large_are_told(tmp_path):
    with pytest.raises(UserError, match="no shards there"):
        find_shards(str(tmp_path))
    with pytest.raises(UserError, match="five digits"):
        shard_paths(str(tmp_path), 100_000)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), max_size=5), st.sets(st.integers(0, 4)))
def test_any_text_survives(tmp_path_factory, texts, failing):
    folder = tmp_path_factory.mktemp("shards")
    write_shard(str(folder), 0, rows(texts, failing))
    found = [sample.text for sample in read_samples(find_shards(str(folder))[0])]
    assert found == [text for index, text in enumerate(texts) if index not in failing]


def test_webdataset_reads_shards(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    write_shard(str(tmp_path), 0, rows(["a dog", "a cat", "a cow"], failing={1}))
    data = webdataset.WebDataset(str(tmp_path / "00000.tar"), shardshuffle=False).to_tuple("__key__", "jpg", "txt", "json")
    found = list(data)
    assert [(key, text.decode()) for key, _, text, _ in found] == [("000000000", "a dog"), ("000000002", "a cow")]
    assert [json.loads(metadata)["key"] for *_, metadata in found] == ["000000000", "000000002"]
