"""The made world is in the formats it claims, read by what others wrote; and the same seed makes the same bytes."""

import bz2
import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType
from PIL import Image, ImageChops, ImageStat

from sample_world.pictures import draw, encode, make_scene
from sample_world.vocabulary import CLASSES, COLOURS, THINGS
from sample_world.world import make_world
from wit_builder.errors import UserError
from wit_builder.text import tokens

ROOT = Path(__file__).resolve().parents[2]
EXPORT = "{http://www.mediawiki.org/xml/export-0.11/}"


def digests(folder):
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_the_same_seed_makes_the_same_bytes_with_more_workers(world, tmp_path):
    make_world(str(tmp_path), 0, "small", 2)
    assert digests(tmp_path) == digests(world)


def test_another_seed_makes_other_pictures_and_is_refused_in_the_same_folder(world, tmp_path):
    first, second = (encode(draw(make_scene(f"web/{seed}/7")), "png") for seed in (0, 1))
    assert first != second
    before = digests(world)
    with pytest.raises(UserError, match="another seed"):
        make_world(str(world), 1, "small", 1)
    assert digests(world) == before


def test_dump_is_xml_in_streams_that_the_index_names(world):
    (path,) = (world / "wikipedia").glob("*-multistream.xml.bz2")
    (index,) = (world / "wikipedia").glob("*-index.txt.bz2")
    data = path.read_bytes()
    pages = {page.findtext(f"{EXPORT}title"): page for page in ElementTree.fromstring(bz2.decompress(data)).iter(f"{EXPORT}page")}
    lines = bz2.decompress(index.read_bytes()).decode().splitlines()
    assert {line.split(":", 2)[2] for line in lines} == set(pages)
    for line in lines[::41]:
        offset, number, title = line.split(":", 2)
        stream = bz2.BZ2Decompressor().decompress(data[int(offset) :]).decode()
        streamed = ElementTree.fromstring(f"<pages>{stream}</pages>")
        assert (number, title) in [(page.findtext("id"), page.findtext("title")) for page in streamed]
    spaces = Counter(page.findtext(f"{EXPORT}ns") for page in pages.values())
    assert len(spaces) > 4 and spaces["0"] > 200
    assert sum(page.find(f"{EXPORT}redirect") is not None for page in pages.values()) > 20


def test_articles_hold_the_words_of_the_captions_often_enough(world):
    (path,) = (world / "wikipedia").glob("*-multistream.xml.bz2")
    counts = Counter(tokens(bz2.decompress(path.read_bytes()).decode()))
    assert min(counts[word] for word in (*THINGS, *COLOURS)) >= 200


def test_page_views_have_the_columns_of_both_formats(world):
    hours = sorted((world / "pageviews").glob("pageviews-*.gz"))
    assert len(hours) == 3
    for path in hours:
        rows = [line.split(" ") for line in gzip.decompress(path.read_bytes()).decode().splitlines()]
        assert {len(row) for row in rows} == {4} and {"en", "en.m", "de"} <= {row[0] for row in rows}
    (day,) = (world / "pageviews").glob("pageviews-*-user.bz2")
    rows = [line.split(" ") for line in bz2.decompress(day.read_bytes()).decode().splitlines()]
    assert {len(row) for row in rows} == {6} and {row[3] for row in rows} == {"desktop", "mobile-web"}


def test_nltk_reads_the_dictionary(world, tmp_path):
    folder = tmp_path / "corpora" / "wordnet"
    folder.parent.mkdir()
    folder.symlink_to(world / "wordnet")
    code = "\n".join([
        "import nltk, json",
        f"nltk.data.path.insert(0, {str(tmp_path)!r}); nltk.data.path.insert(0, {str(world)!r})",
        "from nltk.corpus import wordnet as w",
        "path = [s.name() for s in w.synset('star.n.01').hypernym_paths()[0]]",
        "print(json.dumps([len(list(w.all_synsets())), path, [s.pos() for s in w.synsets('red')], w.synset('goldfish.n.01').definition(),",
        " [l.name() for l in w.lemmas('north_star')], w.morphy('crosses'), w.synset('paint.v.01').hypernyms()[0].name()]))",
    ])
    found = json.loads(subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True).stdout)
    assert found[0] >= 60
    assert found[1] == ["entity.n.01", "abstraction.n.01", "attribute.n.01", "shape.n.01", "star.n.01"]
    assert found[2:] == [["n", "a"], "small golden or orange fish kept in ponds", ["North_Star"], "cross", "draw.v.01"]


def test_data_files_stand_at_the_offsets_they_say(world):
    for part in ("noun", "verb", "adj", "adv"):
        data = (world / "wordnet" / f"data.{part}").read_bytes()
        lines = [line for line in (world / "wordnet" / f"index.{part}").read_text().splitlines() if not line.startswith("  ")]
        assert lines == sorted(lines, key=lambda line: line.split(" ")[0])
        for line in lines:
            fields = line.split()
            for offset in fields[-int(fields[2]) :]:
                assert data[int(offset) :].startswith(offset.encode() + b" ") and data[int(offset) - 1 : int(offset)] == b"\n"


def test_crawl_reads_back_as_the_pages_of_the_site(world):
    found = {}
    for path in sorted((world / "crawl").glob("*.warc.gz")):
        with open(path, "rb") as stream:
            for record in ArchiveIterator(stream, parse_http=True, record_types=WarcRecordType.response):
                found[record.headers["WARC-Target-URI"]] = record.reader.read()
    site = world / "site"
    pages = {f"http://sample.invalid/{path.relative_to(site)}": path.read_bytes() for path in site.rglob("page-*.html")}
    assert found == pages and len(pages) >= 30


def test_sets_are_what_webdataset_readers_expect(world):
    import webdataset

    for name, classes in (("objects", CLASSES), ("colours", tuple(COLOURS))):
        folder = world / "evaluation" / name
        assert tuple((folder / "classnames.txt").read_text().splitlines()) == classes
        assert all("{c}" in line for line in (folder / "zeroshot_classification_templates.txt").read_text().splitlines())
        tars = [str(folder / "test" / f"{number}.tar") for number in range(int((folder / "test" / "nshards.txt").read_text()))]
        examples = list(webdataset.WebDataset(tars, shardshuffle=False).decode("pil").to_tuple("jpg", "cls"))
        assert Counter(label for _, label in examples) == dict.fromkeys(range(len(classes)), 5)
        assert min(min(picture.size) for picture, _ in examples) >= 110


def test_plants_are_copies_of_their_examples_and_other_pictures_are_not(world):
    truth = json.loads((world / "truth.json").read_text())
    routes = json.loads((world / "site" / "routes.json").read_text())
    stored = {}
    for name in ("objects", "colours"):
        for path in (world / "evaluation" / name / "test").glob("*.tar"):
            with tarfile.open(path) as tar:
                for member in tar.getmembers():
                    if member.name.endswith(".jpg"):
                        stored[name, f"test/{path.name}/{member.name[:-4]}"] = tar.extractfile(member).read()

    def difference(first, second):
        small = [Image.open(io.BytesIO(data)).convert("RGB").resize((32, 32), Image.Resampling.BOX) for data in (first, second)]
        return ImageStat.Stat(ImageChops.difference(*small).convert("L")).mean[0]

    copies = [plant for plant in truth["plants"] if plant["transform"] in truth["easy"]]
    assert len(copies) >= len(truth["plants"]) / 2 >= 20
    for plant in copies:
        data = (world / "site" / routes[plant["url"].removeprefix("http://sample.invalid")]["file"]).read_bytes()
        same = difference(data, stored[plant["dataset"], plant["eval_key"]])
        others = [difference(data, other) for key, other in stored.items() if key != (plant["dataset"], plant["eval_key"])]
        assert 1.5 * same < min(others)


def test_server_answers_as_a_site_does_and_ends_with_its_parent(world):
    routes = json.loads((world / "site" / "routes.json").read_text())
    command = [sys.executable, "-m", "sample_world.server", "--site", str(world / "site")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        origin = f"http://127.0.0.1:{int(server.stdout.readline())}"
        for path in ["/media/logo.png", next(path for path in routes if path.endswith(".jpg") and set(routes[path]) == {"file"})]:
            with urllib.request.urlopen(origin + path) as answer:
                assert answer.read() == (world / "site" / routes[path]["file"]).read_bytes()
                assert answer.headers["Content-Type"] in ("image/png", "image/jpeg")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(origin + "/media/never.jpg")
        server.stdin.close()
        assert server.wait(20) == 0


def test_a_folder_with_something_else_in_it_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="holds something else"):
        make_world(str(tmp_path), 0, "small", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(UserError, match="an empty path"):
        make_world("", 0, "small", 1)
