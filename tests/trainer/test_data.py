import collections
import io
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.conftest import encoded, row
from trainer.data import Chunks, Plan, batches
from trainer.index import build_index, permute, scan_tar
from trainer.tars import find_tars
from trainer.tokenizer import Tokenizer
from wit_builder.errors import UserError
from wit_builder.shards import read_samples, shard_paths, write_shard
from wit_builder.tables import write_table

TOKENIZER = Tokenizer([])


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 3000), salt=st.integers(0, 2**64 - 1))
def test_permutation_is_one(size, salt):
    assert sorted(permute(np.arange(size), size, salt)) == list(range(size))


def test_permutations_differ_and_look_random():
    first, second = permute(np.arange(10_000), 10_000, 1), permute(np.arange(10_000), 10_000, 2)
    assert (first == second).mean() < 0.01
    assert abs(np.corrcoef(first, np.arange(10_000))[0, 1]) < 0.05
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.05


def test_index_finds_what_an_independent_reader_reads(shards):
    index = build_index([str(shards)])
    assert index.per_tar() == [40, 35, 28] and index.drops == {}
    read = list(Chunks(index, Plan(1, 1, 1), TOKENIZER, 32, 32, 0).read(np.arange(len(index))))
    expected = [(s.image, s.text.encode()) for number in range(3) for s in read_samples(shard_paths(str(shards), number))]
    assert read == expected


def test_braces_name_tars_as_they_do_for_webdataset(shards):
    assert build_index([f"{shards}/{{00000,00002}}.tar"]).per_tar() == [40, 28]


def texts_of(shards, plan, workers=0, first_step=0):
    chunks = Chunks(build_index([str(shards)]), plan, TOKENIZER, 16, 60, seed=3)
    return [
        [
            (TOKENIZER.decode(tokens), image.numpy().tobytes())
            for chunk in step
            for tokens, image, valid in zip(chunk.tokens.numpy(), chunk.images, chunk.valid)
            if valid
        ]
        for step in batches(chunks, first_step, workers, pin=False)
    ]


@pytest.mark.parametrize("ranks, chunk", [(1, 8), (2, 4), (4, 1), (2, 3)])
def test_every_sample_once_an_epoch_whatever_the_ranks(shards, ranks, chunk):
    alone = texts_of(shards, Plan(8, 8, 206))
    assert [len(step) for step in alone] == [8] * 25 + [6]
    split = [texts_of(shards, Plan(8, chunk, 206, rank, ranks)) for rank in range(ranks)]
    assert [sum(parts, []) for parts in zip(*split)] == alone
    seen = sum(alone, [])
    everything = collections.Counter(image for _, image in seen[:103])
    assert len(everything) == 103 == sum(everything.values())
    assert seen[:103] != seen[103:]


def test_workers_and_a_resume_change_nothing(shards):
    plan = Plan(8, 4, 103)
    alone = texts_of(shards, plan)
    assert texts_of(shards, plan, workers=3) == alone
    assert texts_of(shards, plan, workers=2, first_step=7) == alone[7:]


def test_what_cannot_be_read_is_counted_and_leaves_no_trace(tmp_path):
    rows = [row(number) for number in range(12)]
    rows[3] = row(3, image=b"no picture")
    rows[5] = row(5, image=encoded("red", 5)[:-300])
    rows[7] = row(7, text="   ")
    rows[9] = row(9, text="")
    write_shard(str(tmp_path), 0, rows)
    index = build_index([str(tmp_path)])
    assert index.drops == {"no text": 1} and len(index) == 11
    chunks = Chunks(index, Plan(12, 12, 11), TOKENIZER, 16, 60, 0)
    (step,) = batches(chunks, 0, 0, pin=False)
    assert step[0].drops == {"not an image": 1, "broken image": 1, "empty text": 1}
    assert step[0].valid.tolist() == [True] * 8 + [False] * 4
    assert len(step[0].images) == 12 and step[0].images[8:].float().std() > 0


def test_broken_and_unfinished_shards_are_counted(shards, tmp_path):
    for path in shards.iterdir():
        shutil.copy(path, tmp_path)
    whole = (tmp_path / "00000.tar").read_bytes()
    (tmp_path / "00000.tar").write_bytes(whole[: len(whole) // 2])
    assert find_tars([str(tmp_path)])[1] == 1
    index = build_index([str(tmp_path)])
    assert index.drops == {"unfinished shard": 1} and len(index) == 63
    # The same tars without statistics are any webdataset: what stands before the break is used.
    for path in tmp_path.glob("*_stats.json"):
        path.unlink()
    index = build_index([str(tmp_path)])
    assert 10 < index.per_tar()[0] < 40 and index.per_tar()[1:] == [35, 28]
    assert sum(index.drops.values()) == 1
    (tmp_path / "00000.tar").write_bytes(b"\xff" * 5000)
    assert build_index([str(tmp_path)]).drops == {"broken tar": 1}


def test_a_kept_index_is_read_anew_only_where_tars_changed(shards, tmp_path, monkeypatch):
    folder, keep = tmp_path / "shards", str(tmp_path / "index")
    shutil.copytree(shards, folder)
    read = []
    monkeypatch.setattr("trainer.index.scan_tar", lambda path, excluded: read.append(Path(path).name) or scan_tar(path, excluded))

    def check(*expected, exclude=""):
        read.clear()
        kept = build_index([str(folder)], exclude, keep=keep)
        assert read == list(expected)
        fresh = build_index([str(folder)], exclude)
        assert (kept.tars, kept.samples.tolist(), kept.drops) == (fresh.tars, fresh.samples.tolist(), fresh.drops)

    everything = ("00000.tar", "00001.tar", "00002.tar")
    check(*everything)
    check()
    write_shard(str(folder), 1, [row(number) for number in range(7)])
    write_shard(str(folder), 3, [row(1), row(2, text="")])
    check("00001.tar", "00003.tar")
    for path in folder.glob("00000*"):
        path.unlink()
    check()  # what is gone is left out
    exclude = str(tmp_path / "remove.parquet")
    write_table(exclude, pa.table({"uid": ["f" * 32]}))
    check("00001.tar", "00002.tar", "00003.tar", exclude=exclude)
    check(exclude=exclude)
    for damage in (
        lambda: os.truncate(keep + ".npy", 200),
        lambda: Path(keep + ".json").write_text("[]"),
        lambda: os.remove(keep + ".npy"),
    ):
        damage()
        check("00001.tar", "00002.tar", "00003.tar")
        check()


def test_any_webdataset_and_folders_in_it(tmp_path):
    def add(tar, name, data):
        member = tarfile.TarInfo(name)
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))

    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        add(tar, "a/" + "long" * 60 + ".txt", "früh".encode())
        add(tar, "a/" + "long" * 60 + ".png", encoded("red", 1, format="PNG"))
        add(tar, "b/1.webp", encoded("blue", 2, format="WEBP"))
        add(tar, "b/1.txt", b"late")
        add(tar, "c/1.jpg", encoded("blue", 3))
        add(tar, "d/1.txt", b"alone")
    samples, drops = scan_tar(str(tmp_path / "x.tar"))
    assert len(samples) == 2 and drops == {"no text": 1, "no image": 1}
    assert sorted(text for text, _ in texts_of(tmp_path, Plan(2, 2, 2))[0]) == ["früh", "late"]


def test_excluded_uids_are_left_out(shards, tmp_path):
    uids = [sample.uid for sample in read_samples(shard_paths(str(shards), 1))][:5]
    path = str(tmp_path / "remove.parquet")
    write_table(path, pa.table({"uid": [*uids, "f" * 32]}))
    index = build_index([str(shards)], path)
    assert index.drops == {"excluded": 5} and index.per_tar() == [40, 30, 28]


def test_other_filesystems(shards):
    import fsspec

    memory = fsspec.filesystem("memory")
    for path in shards.iterdir():
        memory.pipe(f"/shards/{path.name}", path.read_bytes())
    plan = Plan(8, 8, 103)
    assert texts_of("memory://shards", plan) == texts_of(shards, plan)
    chunks = Chunks(build_index(["simplecache::memory://shards"]), plan, TOKENIZER, 16, 60, seed=3)
    memory.rm("/shards", recursive=True)
    alone = Chunks(build_index([str(shards)]), plan, TOKENIZER, 16, 60, seed=3)
    assert len(chunks.index) == 103, "from here on, the cache alone has them"
    assert list(chunks.read(np.arange(103))) == list(alone.read(np.arange(103)))


def test_nothing_usable_stops_with_the_reasons(tmp_path):
    with pytest.raises(UserError, match="no tar files there"):
        build_index([str(tmp_path)])
    write_shard(str(tmp_path), 0, [row(1, text=""), row(2, text="")])
    with pytest.raises(UserError, match="2 no text"):
        build_index([str(tmp_path)])
