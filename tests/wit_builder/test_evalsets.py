import io
import json
import os
import tarfile

import numpy as np
import pytest
import webdataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wit_builder.errors import UserError
from wit_builder.evalset_tars import read_tar
from wit_builder.evalsets import Example, Skipped, class_prompt, open_pictures, open_set, parse_set_flags, write_set


def tar_bytes(members):
    """A tar of (name or TarInfo, bytes)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", errors="surrogateescape") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def read(path, classes=None):
    skipped = Skipped()
    return list(read_tar(str(path), "test/0.tar", classes, skipped)), skipped


def class_folder_set(folder, names=("dog", "sea_cat")):
    for split in ("train", "test"):
        for name in names:
            (folder / split / name).mkdir(parents=True)
            for number in (2, 10, 1):
                (folder / split / name / f"{number}.jpg").write_bytes(f"{split} {name} {number}".encode())
    return folder


def test_written_set_is_read_back_and_by_webdataset(tmp_path):
    examples = [Example("", f"image {i}".encode(), i % 3, (i % 3,), clip=f"v{i // 2}", columns={"age": 3}) for i in range(25)]
    write_set(str(tmp_path), {"test": examples}, class_names=["a", "b", "c"], templates=["a {}.", "the {}"], per_tar=10)
    assert (tmp_path / "test/nshards.txt").read_text() == "3"
    assert (tmp_path / "zeroshot_classification_templates.txt").read_text() == "a {c}.\nthe {c}"
    opened = open_set(str(tmp_path), "set")
    assert opened.class_names == ("a", "b", "c") and opened.templates == ("a {}.", "the {}")
    skipped = Skipped()
    found = list(opened.examples(skipped=skipped))
    assert not skipped
    assert [(e.image, e.label, e.clip) for e in found] == [(e.image, e.label, e.clip) for e in examples]
    assert found[12].eval_key == "test/1.tar/s0000012" and found[12].columns == {"age": 3, "clip": "v6"}
    # The format's own library reads the same.
    urls = [str(tmp_path / f"test/{number}.tar") for number in range(3)]
    theirs = [(s["__key__"], s["jpg"], int(s["cls"])) for s in webdataset.WebDataset(urls, shardshuffle=False)]
    assert theirs == [(e.eval_key.rsplit("/", 1)[1], e.image, e.label) for e in found]


def test_writing_twice_gives_the_same_bytes_and_empty_split_is_whole(tmp_path):
    for name in "ab":
        write_set(str(tmp_path / name), {"test": [Example("", b"x", 0)], "train": []}, class_names=["one"])
    assert (tmp_path / "a/test/0.tar").read_bytes() == (tmp_path / "b/test/0.tar").read_bytes()
    assert list(open_set(str(tmp_path / "a"), "s").examples("train")) == []


def test_fingerprint_notices_names_sizes_and_times(tmp_path):
    opened = open_set(str(class_folder_set(tmp_path)), "pets")
    before, timed = opened.fingerprint(), opened.fingerprint(times=True)
    assert open_set(str(tmp_path), "other name").fingerprint() == before != opened.fingerprint("train")
    os.utime(tmp_path / "test/dog/1.jpg", ns=(0, 0))
    assert opened.fingerprint() == before and opened.fingerprint(times=True) != timed
    (tmp_path / "test/dog/1.jpg").write_bytes(b"longer than it was")
    assert opened.fingerprint() != before


def test_several_labels_and_captions(tmp_path):
    example = Example("", b"x", None, (0, 2), ("two birds", "a bird\u2028and another"))
    write_set(str(tmp_path), {"test": [example]}, class_names=["a", "b", "c"])
    (found,) = open_set(str(tmp_path), "set").examples()
    assert found.labels == (0, 2) and found.label is None
    assert found.captions[0] == "two birds"


def test_shards_without_splits_are_a_test_split(tmp_path):
    for number in (0, 1):
        (tmp_path / f"0000{number}.tar").write_bytes(tar_bytes([(f"0000{number}0000.jpg", b"j"), (f"0000{number}0000.txt", b"a dog\n")]))
    found = list(open_set(str(tmp_path), "held-out").examples(skipped=Skipped()))
    assert [(e.eval_key, e.captions) for e in found] == [("00000.tar/000000000", ("a dog",)), ("00001.tar/000010000", ("a dog",))]
    (tmp_path / "dog").mkdir()  # with class folders, a tar beside them is something else
    (tmp_path / "dog" / "1.jpg").write_bytes(b"j")
    assert [e.eval_key for e in open_set(str(tmp_path), "dogs").examples(skipped=Skipped())] == ["dog/1.jpg"]


def test_class_folders(tmp_path):
    opened = open_set(str(class_folder_set(tmp_path)), "pets")
    assert opened.class_names == ("dog", "sea cat") and opened.class_folders == ("dog", "sea_cat")
    keys = [example.eval_key for example in opened.examples()]
    assert keys == [f"test/{name}/{number}.jpg" for name in ("dog", "sea_cat") for number in (1, 10, 2)]
    assert [example.label for example in opened.examples("train")] == [0, 0, 0, 1, 1, 1]
    assert set(opened.splits) == {"train", "test"}


def test_class_folders_without_splits_with_a_class_called_train(tmp_path):
    for name in ("bus", "train"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.PNG").write_bytes(name.encode())
    opened = open_set(str(tmp_path), "vehicles")
    assert [(e.eval_key, e.label) for e in opened.examples()] == [("bus/1.PNG", 0), ("train/1.PNG", 1)]
    with pytest.raises(UserError, match="no train split in vehicles .it has test"):
        opened.examples("train")


def test_class_missing_from_one_split_keeps_its_label(tmp_path):
    class_folder_set(tmp_path)
    (tmp_path / "train/apple").mkdir()
    assert {e.label for e in open_set(str(tmp_path), "s").examples("test")} == {1, 2}


def test_folder_in_a_class_folder_is_a_clip(tmp_path):
    for frame in ("run/v1/1.jpg", "run/v1/2.jpg", "run/single.jpg"):
        (tmp_path / frame).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / frame).write_bytes(b"x")
    assert [e.clip for e in open_set(str(tmp_path), "s").examples()] == ["", "run/v1", "run/v1"]


def test_pictures_without_classes(tmp_path):
    class_folder_set(tmp_path)
    (tmp_path / "top.jpg").write_bytes(b"x")
    opened = open_pictures(str(tmp_path), "all")
    examples = list(opened.examples())
    assert len(examples) == 13 and "top.jpg" in {example.eval_key for example in examples}
    assert all(example.label is None and example.labels == () and not example.clip for example in examples)
    assert opened.fingerprint() == open_pictures(str(tmp_path), "others").fingerprint()
    with pytest.raises(UserError, match="no such folder"):
        open_pictures(str(tmp_path / "nowhere"), "all")


def test_unusable_files_in_folders_are_counted_and_named(tmp_path):
    class_folder_set(tmp_path)
    (tmp_path / "test/dog/empty.jpg").touch()
    (tmp_path / "test/dog/notes.txt").write_text("x")
    (tmp_path / "test/dog/.hidden.jpg").write_text("x")
    skipped = Skipped()
    assert len(list(open_set(str(tmp_path), "s").examples(skipped=skipped))) == 6
    assert skipped.counts == {"empty image": 1, "no image by its name": 1}
    assert {"eval_key": "test/dog/empty.jpg", "reason": "empty image"} in skipped.named


def test_what_cannot_be_used_in_a_tar_is_counted_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr("wit_builder.evalset_tars.MAX_OTHER_BYTES", 100)
    link = tarfile.TarInfo("link.jpg")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    members = [
        ("good.jpg", b"1"), ("good.cls", b" 1\n"),
        (link, b""), ("link.cls", b"0"),
        ("big.jpg", b"1"), ("big.json", b"1" * 101),
        ("none.jpg", b""), ("none.cls", b"0"),
        ("word.jpg", b"1"), ("word.cls", b"dog"),
        ("nine.jpg", b"1"), ("nine.cls", b"9"),
        ("deep.jpg", b"1"), ("deep.json", b"[" * 90),
        ("list.jpg", b"1"), ("list.json", b"[1]"),
        ("good.jpg", b"again"),
        ("../../up.jpg", b"kept, but never used as a path"),
        ("no key", b"1"), (".jpg", b"1"),
    ]  # fmt: skip
    (tmp_path / "0.tar").write_bytes(tar_bytes(members))
    examples, skipped = read(tmp_path / "0.tar", classes=3)
    # webdataset's rule finds no key in "../../up.jpg" either: a folder's dots are no suffix.
    assert [e.eval_key for e in examples] == ["test/0.tar/good", "test/0.tar/../../up"]
    assert examples[0].label == 1
    assert skipped.counts == {
        "no image": 1, "too large": 1, "empty image": 1, "bad label or columns": 3, "label out of range": 1, "repeated key": 1,
    }  # fmt: skip


def test_tar_that_breaks_off_gives_what_came_before(tmp_path):
    whole = tar_bytes([(f"{i}.jpg", b"x" * 700) for i in range(3)])
    (tmp_path / "0.tar").write_bytes(whole[: 2 * 512 + 1024 + 600])
    examples, skipped = read(tmp_path / "0.tar")
    assert len(examples) <= 1 and skipped.counts == {"broken tar": 1}
    assert skipped.named == [{"eval_key": "test/0.tar", "reason": "broken tar"}]


def test_names_that_are_no_text_become_valid(tmp_path):
    (tmp_path / "0.tar").write_bytes(tar_bytes([("caf\udce9.jpg", b"1")]))
    examples, _ = read(tmp_path / "0.tar")
    assert examples[0].eval_key == "test/0.tar/caf\ufffd"


@given(st.binary(max_size=200), st.integers(0, 3000), st.integers(0, 200))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_tar_never_raises(tmp_path, noise, start, cut):
    array = io.BytesIO()
    np.save(array, np.ones(3))
    whole = bytearray(tar_bytes([("a.jpg", b"1"), ("a.npy", array.getvalue()), ("b.png", b"2"), ("b.json", json.dumps({"x": 1}).encode())]))
    whole[start : start + len(noise)] = noise
    (tmp_path / "0.tar").write_bytes(bytes(whole[: len(whole) - cut]))
    examples, skipped = read(tmp_path / "0.tar", classes=3)
    for example in examples:
        example.eval_key.encode()
    assert len(examples) + len(skipped) <= 6


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(3, 1)", "()", "(3,", "((((", "3L'", "\x00"])
def test_label_vector_of_another_shape_is_refused_before_allocating(tmp_path, shape):
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(24)
    (tmp_path / "0.tar").write_bytes(tar_bytes([("a.jpg", b"1"), ("a.npy", data)]))
    assert read(tmp_path / "0.tar")[1].counts == {"bad label or columns": 1}


def test_pickled_label_is_not_loaded(tmp_path):
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "0.tar").write_bytes(tar_bytes([("a.jpg", b"1"), ("a.npy", stream.getvalue())]))
    assert read(tmp_path / "0.tar")[1].counts == {"bad label or columns": 1}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("classnames.txt", "dog\n", "names 1 classes, but there are 2 class folders"),
        ("classnames.txt", "dog\n\ncat\n", "line 2 of classnames.txt is empty"),
        ("classnames.txt", "", "classnames.txt is empty"),
        ("zeroshot_classification_templates.txt", "a photo\n", r"'a photo' in .* has no \{\} or \{c\}"),
    ],
)
def test_malformed_lists_are_one_clear_error(tmp_path, name, text, message):
    class_folder_set(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        open_set(str(tmp_path), "s")


def test_missing_tars_and_bad_counts(tmp_path):
    write_set(str(tmp_path), {"test": [Example("", b"x", 0)]}, class_names=["one"])
    (tmp_path / "test/nshards.txt").write_text("2\n")
    with pytest.raises(UserError, match="1 of 2 tars are missing, first .*1.tar"):
        list(open_set(str(tmp_path), "s").examples())
    (tmp_path / "test/nshards.txt").write_text("many")
    with pytest.raises(UserError, match="not a number of tars"):
        list(open_set(str(tmp_path), "s").examples())


@pytest.mark.parametrize("value", ["pets", "=x", "pets=", "a/b=x", "a\nb=x"])
def test_set_flags_that_are_no_name_and_folder(value):
    with pytest.raises(UserError, match="is not NAME=DIR"):
        parse_set_flags([value])


def test_set_flags(tmp_path):
    flag = f"pets={class_folder_set(tmp_path / 'a=b')}"
    assert [opened.name for opened in parse_set_flags([flag])] == ["pets"]
    with pytest.raises(UserError, match="'pets' is given twice"):
        parse_set_flags([flag, flag])
    with pytest.raises(UserError, match="no such folder"):
        parse_set_flags([f"pets={tmp_path}/nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no tars and no class folders"):
        open_set(str(tmp_path / "empty"), "s")


def test_class_name_with_braces_is_left_as_it_is():
    assert class_prompt("a {} and {}", "{0} {}") == "a {0} {} and {0} {}"


def test_real_class_folders(samples, tmp_path):
    with tarfile.open(samples / "images/cifar10.tar.xz") as tar:
        for count, member in enumerate(tar):
            tar.extract(member, tmp_path, filter="data")
            if count == 300:
                break
    (root,) = [path for path in (tmp_path, *tmp_path.iterdir()) if (path / "train").is_dir() or (path / "test").is_dir()]
    opened = open_set(str(root), "cifar10")
    split = next(iter(opened.splits))
    skipped = Skipped()
    examples = list(opened.examples(split, skipped))
    assert len(examples) > 250 and not skipped
    assert all(f"{split}/{opened.class_folders[e.label]}/" in e.eval_key for e in examples)
