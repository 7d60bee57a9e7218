import os

import pyarrow as pa
import pytest
from s3 import KEYS, bucket

from wit_builder import files, remote, tables
from wit_builder.errors import UserError
from wit_builder.outputs import Output


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with bucket(tmp_path_factory.mktemp("s3")) as flags:
        remote.set_options(flags)
        yield "s3://wit"
        remote.set_options([])


@pytest.fixture(params=["local", "s3"])
def root(request, tmp_path):
    return str(tmp_path / "root") if request.param == "local" else request.getfixturevalue("s3") + "/root-" + tmp_path.name


def test_files_are_written_found_and_removed(root):
    path = files.join(root, "sub", "a.bin")
    assert not files.exists(path)
    files.write_bytes(path, b"first")
    files.write_bytes(path, b"second")
    files.write_bytes(files.join(root, "sub", "b.bin"), b"b")  # Beam cannot write an empty object to S3
    assert files.read_bytes(path) == b"second" and files.size(path) == 6
    assert files.is_folder(files.join(root, "sub")) and not files.is_folder(files.join(root, "su"))
    names = [files.relative_name(found, root) for found in files.match(files.join(root, "sub"))]
    assert names == ["sub/a.bin", "sub/b.bin"], "and no temporary names"
    assert files.match(files.join(root, "sub", "*.bin")) == files.match(files.join(root, "sub"))
    files.remove(files.join(root, "sub"))
    assert files.match(files.join(root, "sub")) == []
    files.remove(files.join(root, "sub"))


def test_one_s3_client_serves_every_access(s3, monkeypatch):
    """Beam makes a boto3 client each time: 0.4 s of CPU time, many times for each file."""
    import boto3

    files.write_bytes(f"{s3}/clients/a", b"a")
    made = []
    real = boto3.session.Session.client

    def client(self, *arguments, **settings):
        made.append(settings["region_name"])
        return real(self, *arguments, **settings)

    monkeypatch.setattr(boto3.session.Session, "client", client)
    files.write_bytes(f"{s3}/clients/b", b"bb")
    assert [files.read_bytes(path) for path in files.match(f"{s3}/clients/*")] == [b"a", b"bb"]
    with files.open_read(f"{s3}/clients/a") as one, files.open_read(f"{s3}/clients/b") as other:
        assert (one.read(1), other.read(1), one.read(), other.read()) == (b"a", b"b", b"", b"b"), "downloads keep apart"
    assert not made
    before = remote.options()
    remote.set_options([*before, "--s3_region_name=eu-west-1"])
    assert files.exists(f"{s3}/clients/a") and made == ["eu-west-1"], "other options, another client"
    remote.set_options(before)


def test_a_write_that_fails_changes_nothing(root):
    path = files.join(root, "a.bin")
    files.write_bytes(path, b"whole")
    with pytest.raises(RuntimeError), files.atomic_writer(path) as stream:
        stream.write(b"half")
        raise RuntimeError
    assert files.read_bytes(path) == b"whole"
    assert len(files.match(root)) == 1


def test_outputs_and_tables(root):
    output = Output(files.join(root, "out"), "stage", {"cap": 3}, [])
    assert output.begin()
    table = pa.table({"uid": ["b", "a"]})
    tables.write_table(output.file(tables.numbered("pairs", 0, 1)), table, sort_by=["uid"])
    files.write_bytes(files.join(output.work, "spill", "x"), b"x")
    with pytest.raises(UserError, match="not whole"):
        tables.find(output.path, "pairs")
    output.finish({}, {})
    assert not output.begin()
    (found,) = tables.find(output.path, "pairs")
    assert tables.read_table(found).to_pydict() == {"uid": ["a", "b"]}
    assert not files.exists(files.join(output.work, "spill", "x"))
    with pytest.raises(UserError, match="another run"):
        Output(output.path, "stage", {"cap": 4}, []).begin()


def test_a_run_that_made_nothing_keeps_no_folder(root):
    assert Output(files.join(root, "out"), "stage", {"size": 3}, []).begin()
    output = Output(files.join(root, "out"), "stage", {"size": 4}, [])
    assert output.begin()
    assert files.read_json(output.file("run.json"))["parameters"] == {"size": 4}
    files.write_bytes(files.join(output.work, "spill", "0.bin"), b"hours of work")
    with pytest.raises(UserError, match="another run's output"):
        Output(files.join(root, "out"), "stage", {"size": 5}, []).begin()


def test_names_below_a_root():
    assert files.relative_name("s3://b/in/x/a.warc", "s3://b/in") == "x/a.warc"
    assert files.relative_name("/data/in/x/a.warc", "/data/in") == "x/a.warc"
    assert files.input_root("/data/in/*/a.warc") == "/data/in"
    assert files.input_root("s3://b/in/part-?/a.warc") == "s3://b/in"
    assert files.input_root("a.warc") == "."


def test_schemes_that_nothing_reads_are_told():
    for call in (files.match, files.exists, files.is_folder, files.read_bytes, lambda path: files.sizes([path])):
        with pytest.raises(UserError, match="ftp://: Beam reads no ftp:// paths here"):
            call("ftp://a.example/x")


def test_s3_takes_its_keys_from_the_environment_where_no_flags_say(tmp_path, monkeypatch):
    with bucket(tmp_path) as flags:
        monkeypatch.setenv("AWS_ENDPOINT_URL", flags[0].partition("=")[2])
        for name, value in KEYS.items():
            monkeypatch.setenv(name, value)
        before = remote.options()
        remote.set_options(())
        try:
            files.write_bytes("s3://wit/a", b"a")
            assert files.sizes(["s3://wit/a", "s3://wit/b", str(tmp_path / "none")]) == {"s3://wit/a": 1}
        finally:
            remote.set_options(before)


def test_a_device_a_pipe_or_a_folder_is_never_replaced_by_a_file(tmp_path):
    """A rename over /dev/null, by root, takes it from every program of the machine."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("pipe")
    before = {path.name: path.lstat().st_ino for path in tmp_path.iterdir()}
    for name, what in {"pipe": "a device or a pipe", "folder": "a folder", "link": "a device or a pipe"}.items():
        with pytest.raises(UserError, match=f"{name}: {what} stands there"):
            files.write_bytes(str(tmp_path / name), b"data")
    assert {path.name: path.lstat().st_ino for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("error", [EOFError("No data left"), KeyError("rows"), TypeError("null"), ValueError("mmap length")])
def test_what_an_earlier_run_kept_and_the_disk_spoilt_is_named(error):
    with pytest.raises(UserError, match="kept.npy: an earlier run kept this, and it is broken"), files.reading_kept("kept.npy"):
        raise error
