import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainer.commands.search import main
from trainer.evaluate.encoder import load_encoder
from trainer.search import index as index_module
from trainer.search.frames import frame_of, seconds_of
from trainer.search.sources import find_parts
from wit_builder.errors import UserError
from wit_builder.evalset_tars import write_tar
from wit_builder.shards import SUCCESS, ShardRow, write_shard


def a_shard(folder, number, squares, seeds):
    colours = list(squares.colours.items())

    def row(seed):
        name, colour = colours[seed % 3]
        image = squares.picture(colour, seed)
        return ShardRow(f"{seed:032x}", f"http://a.test/{seed}?<b>", f"a {name} <i>", status=SUCCESS, image=image)

    write_shard(str(folder), number, map(row, seeds), extension="png")


def results_of(output):
    return json.loads((output / "results.json").read_text())["queries"]


@pytest.fixture
def search(vit, run, tmp_path):
    def call(*arguments, output="out"):
        return run(main, "--checkpoint", vit, "--index", tmp_path / "index", *arguments, output=output)

    return call


def test_results_equal_a_full_search_by_hand(vit, squares, search, tmp_path):
    a_shard(tmp_path / "shards", 0, squares, range(7))
    a_shard(tmp_path / "shards", 1, squares, range(7, 12))
    output, printed = search("--images", tmp_path / "shards", "--text", "red <script>", "--text", "blue", "--top", 5)
    encoder = load_encoder(vit)
    colours = list(squares.colours.values())
    pixels = np.stack([np.array(encoder.loaded.preprocessing(squares.picture(colours[seed % 3], seed))) for seed in range(12)])
    cosines = encoder.embed_texts(["red <script>", "blue"]) @ encoder.embed_images(pixels)[1].T
    for row, found in zip(cosines, results_of(output)):
        assert [int(one["uid"], 16) for one in found["results"]] == np.argsort(-row)[:5].tolist()
        np.testing.assert_allclose([one["similarity"] for one in found["results"]], np.sort(row)[::-1][:5], atol=2e-3)
    best = results_of(output)[0]["results"][0]
    seed = int(best["uid"], 16)
    assert best["url"] == f"http://a.test/{seed}?<b>" and best["source"] == f"shards/{seed // 7:05d}.tar" and best["key"] in printed
    page = (output / "report.html").read_text()
    assert page.count("<figure>") == 10 and "<script>" not in page and "<b>" not in page and "<i>" not in page
    assert search("--images", tmp_path / "shards", "--text", "red <script>", "--text", "blue", "--top", 5)[1].endswith("nothing to do\n")


def test_a_grown_set_embeds_only_what_is_new_and_a_moved_tar_is_known(squares, search, tmp_path, monkeypatch):
    a_shard(tmp_path / "shards", 0, squares, range(4))
    search("--images", tmp_path / "shards", "--text", "red")
    embedded = []
    before = index_module._embed
    monkeypatch.setattr(index_module, "_embed", lambda encoder, part, *more: [embedded.append(part.name), before(encoder, part, *more)])
    a_shard(tmp_path / "shards", 1, squares, range(4, 8))
    (tmp_path / "shards").rename(tmp_path / "elsewhere")
    output, _ = search("--images", tmp_path / "elsewhere", "--text", "red", output="second")
    assert embedded == ["elsewhere/00001.tar"] and json.loads((output / "manifest.json").read_text())["counts"]["pictures"] == 8


def test_a_killed_run_goes_on_with_the_parts_that_are_missing(vit, squares, tmp_path, monkeypatch):
    for number in range(3):
        write_tar(str(tmp_path / f"{number}.tar"), [(f"k{number}", {"png": squares.picture((200, 40, 40), number)})])
    encoder, folder = load_encoder(vit), str(tmp_path / "index")
    parts, _ = find_parts([str(tmp_path)], folder)
    before, calls = index_module._embed, []

    def dies(encoder, part, *more):
        calls.append(part.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        before(encoder, part, *more)

    monkeypatch.setattr(index_module, "_embed", dies)
    with pytest.raises(KeyboardInterrupt):
        index_module.build_index(encoder, parts, folder)
    index = index_module.build_index(encoder, parts, folder)
    assert [name.rsplit("/")[-1] for name in calls] == ["0.tar", "1.tar", "1.tar", "2.tar"] and len(index) == 3
    assert pq.read_schema(index.paths[0]).field("embedding").type == pa.list_(pa.float16(), 16)
    assert [row["key"] for row in index.look_up([0, 2], ["key"]).values()] == ["k0", "k2"]


def test_frames_are_named_by_video_and_number_and_the_best_of_each_video_is_kept(squares, search, tmp_path):
    for video, colour in (("day", (200, 40, 40)), ("night <b>", (40, 40, 200))):
        (tmp_path / "frames" / video).mkdir(parents=True)
        for frame in range(1, 4):
            (tmp_path / "frames" / video / f"{frame:05d}.png").write_bytes(squares.picture(colour, frame))
    (tmp_path / "frames" / "day" / "00009.png").write_bytes(b"broken")
    query = tmp_path / "query.png"
    query.write_bytes(squares.picture((40, 40, 200), 2))
    flags = ["--images", tmp_path / "frames", "--image", query, "--fps", 2]
    output, printed = search(*flags, "--one-per-video")
    (found,) = results_of(output)
    first, second = found["results"]
    assert (first["video"], first["frame"], first["seconds"], second["video"]) == ("night <b>", 2, 0.5, "day")
    assert "night <b> frame 2 at 0:00.5 (1.000)" in printed
    assert json.loads((output / "manifest.json").read_text())["drops"] == {"not an image": 1}
    both, _ = search(*flags, "--text", "blue", "--combine", "--frames", "no", output="both")
    (found,) = results_of(both)
    assert len(found["results"]) == 6 and "video" not in found["results"][0] and found["text"] == "blue"


def test_tables_of_queries_hold_texts_and_pictures(squares, colours, search, tmp_path):
    (tmp_path / "one.png").write_bytes(squares.picture((40, 200, 40), 1))
    (tmp_path / "queries.csv").write_text("text,image\nred,\n,one.png\nred,one.png\n")
    (tmp_path / "lines.txt").write_text("red\n\n a  green\tone \n")
    output, _ = search("--images", colours, "--queries", tmp_path / "queries.csv")
    words, picture, both = ([one["similarity"] for one in query["results"]] for query in results_of(output))
    assert both[0] > words[0] - 1e-3 and both[0] < picture[0] and len({tuple(words), tuple(picture), tuple(both)}) == 3
    output, _ = search("--images", colours, "--queries", tmp_path / "lines.txt", output="lines")
    assert [query["text"] for query in results_of(output)] == ["red", "a green one"]


@pytest.mark.parametrize(
    ("name", "clip", "mode", "expected"),
    [
        ("street/00012.jpg", "", "auto", ("street", 12)),
        ("a/b/frame_7.png", "", "auto", ("a/b", 7)),
        ("dog/7.jpg", "", "auto", ("", None)),
        ("dog/7.jpg", "", "yes", ("dog", 7)),
        ("000010078", "", "auto", ("", None)),
        ("s0000012", "walk", "auto", ("walk", None)),
        ("12.jpg", "walk", "no", ("", None)),
        ("dog/first.jpg", "", "yes", ("dog", None)),
    ],
)
def test_what_is_a_frame(name, clip, mode, expected):
    assert frame_of(name, clip, mode) == expected


def test_frames_are_counted_from_one():
    assert seconds_of(1, 2.0) == 0 and seconds_of(31, 2.0) == 15 and seconds_of(None, 2.0) is None and seconds_of(3, 0.0) is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--text", " "], "an empty text"),
        ([], "nothing to look for"),
        (["--text", "a", "--combine"], "one --text and one --image"),
        (["--image", "nowhere.png"], "no such picture"),
        (["--image", "BAD"], "not an image"),
        (["--text", "a", "--images", "nowhere"], "no such folder or tar"),
        (["--text", "a", "--images", "EMPTY"], "no picture and no whole shard"),
        (["--text", "a", "--images", "BROKEN"], "no usable picture .not an image: 1"),
        (["--queries", "EMPTY/q.csv"], "no column text and no column image"),
    ],
)
def test_what_the_user_can_mend_is_one_clear_error(colours, search, tmp_path, flags, message):
    for folder, name, text in (("EMPTY", "q.csv", "a,b\n1,2\n"), ("BROKEN", "x.jpg", "no picture")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text)
    (tmp_path / "BAD").write_text("no picture")
    flags = [str(tmp_path / flag) if flag.split("/")[0].isupper() else flag for flag in flags]
    with pytest.raises(UserError, match=message):
        search(*([] if "--images" in flags else ["--images", colours]), *flags)
