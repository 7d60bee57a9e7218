"""Bad input, for every stage as its user meets it: one line that names the file and the fix, exit code 1, earlier output untouched."""

import bz2
import gzip
import hashlib
import re
import shutil
from importlib import import_module

import pytest

from sample_world.world import make_world
from wit_builder.errors import exit_with

CONTACT = ("--contact", "tests@example.org")  # nobody is visited


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small world and the output of the first three stages on it; nothing may change it."""
    folder = tmp_path_factory.mktemp("made")
    make_world(str(folder / "world"), 0, "small", 1)
    world = folder / "world"
    run("build_queries", *queries_of(world), "--output", folder / "queries")
    run("extract_pairs", "--input", world / "crawl" / "*.warc.gz", "--output", folder / "pairs")
    run("balance_pairs", "--pairs", folder / "pairs", "--queries", folder / "queries" / "queries.parquet", "--output", folder / "balanced")
    return folder


def queries_of(world, **changed):
    given = {"wikipedia": world / "wikipedia" / "*-multistream.xml.bz2", "wordnet": world / "wordnet", "size": 400} | changed
    return [word for name, value in given.items() for word in (f"--{name}", value)]


def run(stage, *arguments):
    """Run a command in this process, as `python -m` would; gives its exit code."""
    module, *command = {"dedup": ["dedup.cli"], "trainer": ["trainer.cli"]}.get(stage, [f"pipelines.{stage}"])
    workers = ["--workers", "1"] if module.startswith("pipelines") else []
    with pytest.raises(SystemExit) as ended:
        exit_with(lambda: import_module(module).main([*command, *map(str, arguments), *workers]))
    return ended.value.code


def digests(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def refused(capfd):
    """Checks that a command ends with one line that holds all the given words, and with exit code 1."""

    def check(stage, *arguments, says):
        capfd.readouterr()
        assert run(stage, *arguments) == 1
        said = [line for line in capfd.readouterr().err.splitlines() if line and not line.startswith("runner: ")]
        assert len(said) == 1, said
        assert re.match(r"error: .*\S.* \(.+\)$", said[0]), said  # what and where, and in brackets how to mend it
        for words in says:
            assert str(words) in said[0], said

    return check


def cut(source, target, share=0.5):
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


def one(folder, pattern):
    (found,) = folder.glob(pattern)
    return found


def test_build_queries_on_files_that_are_missing_cut_off_or_no_dump(made, tmp_path, refused):
    world, output = made / "world", tmp_path / "queries"
    dump = one(world / "wikipedia", "*-multistream.xml.bz2")
    cases = {
        tmp_path / "missing.xml.bz2": None,
        cut(dump, tmp_path / "cut.xml.bz2"): None,
        tmp_path / "html.xml.bz2": bz2.compress(b"<!DOCTYPE html><html><body>404</body></html>"),
        tmp_path / "plain.xml": b"title,views\nStar,3\n",
        tmp_path / "noise.xml.bz2": b"BZh9 these are no bz2 blocks" * 99,
        tmp_path / "empty.xml.bz2": b"",
    }
    for path, data in cases.items():
        if data is not None:
            path.write_bytes(data)
        refused("build_queries", *queries_of(world, wikipedia=path), "--output", output, says=[path])
        assert not (output / "manifest.json").exists()
        shutil.rmtree(output, ignore_errors=True)


def test_build_queries_on_page_views_and_a_dictionary_that_are_not(made, tmp_path, refused):
    world, output = made / "world", tmp_path / "queries"
    views = cut(one(world / "pageviews", "*-000000.gz"), tmp_path / "pageviews-20260101-000000.gz")
    refused("build_queries", *queries_of(world), "--pageviews", views, "--output", output, says=[views])
    shutil.rmtree(output, ignore_errors=True)
    views.write_bytes(gzip.compress(b"not page views\n" * 9))
    refused("build_queries", *queries_of(world), "--pageviews", views, "--output", output, says=[views])
    shutil.rmtree(output, ignore_errors=True)
    refused("build_queries", *queries_of(world, wordnet=tmp_path), "--output", output, says=[tmp_path])
    wordnet = shutil.copytree(world / "wordnet", tmp_path / "wordnet")
    cut(world / "wordnet" / "data.noun", wordnet / "data.noun")
    refused("build_queries", *queries_of(world, wordnet=wordnet), "--output", output, says=[wordnet])


def test_extract_pairs_keeps_what_stands_before_a_cut_and_says_where(made, tmp_path, capfd, refused):
    archive = cut(one(made / "world" / "crawl", "sample-00000*"), tmp_path / "cut.warc.gz", 0.6)
    assert run("extract_pairs", "--input", archive, "--output", tmp_path / "pairs") == 0
    assert "cut.warc.gz" in capfd.readouterr().err
    refused("extract_pairs", "--input", archive, "--strict", "--output", tmp_path / "strict", says=["cut.warc.gz"])
    refused("extract_pairs", "--input", tmp_path / "none.warc.gz", "--output", tmp_path / "none", says=["none.warc.gz"])


def test_balance_pairs_on_unfinished_or_broken_input(made, tmp_path, refused):
    queries, output = made / "queries" / "queries.parquet", tmp_path / "balanced"
    refused("balance_pairs", "--pairs", tmp_path / "none", "--queries", queries, "--output", output, says=[tmp_path / "none"])
    pairs = shutil.copytree(made / "pairs", tmp_path / "pairs")
    broken = cut(one(made / "pairs", "pairs-*.parquet"), one(pairs, "pairs-*.parquet"))
    refused("balance_pairs", "--pairs", pairs, "--queries", queries, "--output", output, says=[broken])
    shutil.rmtree(output, ignore_errors=True)
    (pairs / "manifest.json").unlink()
    refused("balance_pairs", "--pairs", pairs, "--queries", queries, "--output", output, says=[pairs, "manifest.json"])
    for name, data in {"cut.parquet": queries.read_bytes()[:-50], "text.parquet": b"star\n", "none.parquet": None}.items():
        if data:
            (tmp_path / name).write_bytes(data)
        refused("balance_pairs", "--pairs", made / "pairs", "--queries", tmp_path / name, "--output", output, says=[tmp_path / name])


def test_download_images_on_broken_input(made, tmp_path, refused):
    output = tmp_path / "shards"
    refused("download_images", *CONTACT, "--pairs", tmp_path / "none", "--output", output, says=[tmp_path / "none"])
    balanced = shutil.copytree(made / "balanced", tmp_path / "balanced")
    broken = cut(one(made / "balanced", "balanced-*.parquet"), one(balanced, "balanced-*.parquet"))
    refused("download_images", *CONTACT, "--pairs", balanced, "--output", output, says=[broken])
    refused("download_images", *CONTACT, "--pairs", made / "balanced", "--map-host", "nonsense", "--output", output, says=["nonsense"])


def test_a_folder_with_another_runs_output_is_refused_and_left_as_it_was(made, refused):
    before = digests(made)
    world = made / "world"
    refused("build_queries", *queries_of(world, size=300), "--output", made / "queries", says=[made / "queries", "300", "400"])
    refused("extract_pairs", "--input", world / "crawl" / "sample-00000*", "--text-sources", "alt,title", "--output", made / "pairs",
            says=[made / "pairs", "text_sources"])  # fmt: skip
    arguments = ("--pairs", made / "pairs", "--queries", made / "queries" / "queries.parquet", "--output", made / "balanced")
    refused("balance_pairs", *arguments, "--cap", "7", says=[made / "balanced", "cap", "7"])
    refused("balance_pairs", *arguments[:-1], made / "world", says=[made / "world", "not empty"])
    refused("download_images", *CONTACT, "--pairs", made / "balanced", "--output", made / "pairs", says=[made / "pairs"])
    assert digests(made) == before


def test_the_same_run_again_changes_nothing(made):
    before = digests(made)
    assert run("build_queries", *queries_of(made / "world"), "--output", made / "queries") == 0
    assert run("extract_pairs", "--input", made / "world" / "crawl" / "*.warc.gz", "--output", made / "pairs") == 0
    assert digests(made) == before
