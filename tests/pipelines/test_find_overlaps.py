"""The overlap search as its user runs it, on drawn pictures: train, search, search again, report."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image, ImageDraw

from dedup.calibrate import threshold_for
from dedup.cli import main as dedup
from dedup.overlap import parse_thresholds, read_overlaps, read_thresholds
from dedup.review_server import Review
from pipelines.find_overlaps import main
from trainer.commands.train import main as trainer
from wit_builder.errors import UserError
from wit_builder.hashing import pair_uid
from wit_builder.shards import SUCCESS, ShardRow, read_samples, shard_paths, write_shard

ROOT = Path(__file__).resolve().parent.parent.parent


def picture(seed: int) -> Image.Image:
    """A few coloured shapes on a coloured ground."""
    chooser = np.random.default_rng(seed)
    image = Image.new("RGB", (120, 96), tuple(chooser.integers(0, 256, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y = chooser.integers(0, 90, 2).tolist()
        width, height = chooser.integers(10, 60, 2).tolist()
        shape = draw.ellipse if chooser.integers(2) else draw.rectangle
        shape((x, y, x + width, y + height), fill=tuple(chooser.integers(0, 256, 3).tolist()))
    return image


def encoded(image: Image.Image, quality: int = 90) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def row(name: str, image: bytes) -> ShardRow:
    url = f"http://example.org/{name}.jpg"
    return ShardRow(pair_uid(url, name), url, name, status=SUCCESS, image=image, width=120, height=96)


def search_flags(world: Path, output: str, *more: str, shards: str = "shards") -> list[str]:
    detector = str(world / "detector" / "detector.safetensors")
    return [
        *("--shards", str(world / shards), "--eval", f"drawn={world / 'set'}", "--detector", detector),
        *("--output", str(world / output), "--loose", "0.9", "--workers", "1", *more),
    ]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Two shards of pictures with copies of evaluation images among them, a set of class folders, and a briefly trained detector."""
    folder = tmp_path_factory.mktemp("world")
    evaluation = {f"{kind}/{index}.jpg": picture(1000 * number + index) for number, kind in enumerate(("a", "b")) for index in range(12)}
    for key, image in evaluation.items():
        path = folder / "set" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(image))
    (folder / "set" / "a" / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    copies = [
        row("same", encoded(evaluation["a/0.jpg"])),
        row("recompressed", encoded(evaluation["a/1.jpg"], 40)),
        row("halved", encoded(evaluation["b/2.jpg"].resize((60, 48)))),
        row("mirrored", encoded(evaluation["b/3.jpg"].transpose(Image.Transpose.FLIP_LEFT_RIGHT))),
        row("broken", b"not an image"),
    ]
    others = [row(f"other{index}", encoded(picture(50_000 + index))) for index in range(80)]
    write_shard(str(folder / "shards"), 0, copies[:3] + others[:40])
    write_shard(str(folder / "shards"), 1, copies[3:] + others[40:])
    write_shard(str(folder / "shards"), 2, [ShardRow("0" * 32, "http://example.org/lost", "lost")])
    torch.set_num_threads(1)  # threads that wait for each other are slow where tests run side by side
    detector = ["--size", "tiny", "--steps", "20", "--batch-size", "16", "--output", str(folder / "detector")]
    assert dedup(["train", "--shards", str(folder / "shards"), *detector]) == 0
    return folder


@pytest.fixture(scope="module")
def found(world) -> Path:
    assert main(search_flags(world, "overlaps")) == 0
    return world / "overlaps"


def test_copies_are_found_and_the_view_is_named(found):
    best = {}
    for hit in pq.read_table(found / "overlaps-00000-of-00001.parquet").to_pylist():
        if hit["eval_key"] not in best or hit["similarity"] > best[hit["eval_key"]]["similarity"]:
            best[hit["eval_key"]] = hit
    met = {key: (hit["url"].rsplit("/", 1)[-1].removesuffix(".jpg"), hit["view"]) for key, hit in best.items()}
    assert met["a/0.jpg"] == ("same", "whole") and best["a/0.jpg"]["similarity"] == 1
    assert met["a/1.jpg"][0] == "recompressed"
    assert met["b/2.jpg"][0] == "halved"
    assert met["b/3.jpg"] == ("mirrored", "flip")
    assert (best["a/0.jpg"]["dataset"], best["a/0.jpg"]["shard"], best["a/0.jpg"]["key"]) == ("drawn", "00000", "000000000")


def test_the_detector_says_what_its_similarities_mean(world):
    calibration = json.loads((world / "detector" / "manifest.json").read_text())["calibration"]
    assert calibration["loose"] < threshold_for(calibration, 84) < threshold_for(calibration, 8400) <= 1


def test_broken_images_and_empty_shards_are_counted_and_passed_over(found):
    manifest = json.loads((found / "manifest.json").read_text())
    assert manifest["counts"]["evaluation images"] == 24 and manifest["counts"]["training images"] == 84
    assert sum(manifest["drops"].values()) == 2
    table = pq.read_table(found / "evaluation-00000-of-00001.parquet").to_pylist()
    assert len(table) == 24 and {entry["label"] for entry in table} == {0, 1}
    kept = pq.read_table(found / "overlaps-00000-of-00001.parquet")
    assert sum(entry["hits"] for entry in table) == kept.num_rows  # the cap was out of reach


def test_as_a_process_with_two_workers_the_bytes_are_the_same(world, found):
    command = [sys.executable, "-m", "pipelines.find_overlaps", *search_flags(world, "two", "--workers", "2")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
    for name in ("overlaps-00000-of-00001.parquet", "evaluation-00000-of-00001.parquet", "manifest.json"):
        assert (world / "two" / name).read_bytes() == (found / name).read_bytes()


def test_grown_by_a_shard_only_the_new_one_is_embedded(world, found):
    for path in (world / "shards").iterdir():
        (world / "grown").mkdir(exist_ok=True)
        (world / "grown" / path.name).write_bytes(path.read_bytes())
    write_shard(str(world / "grown"), 3, [row("again", encoded(picture(3), 50))])
    before = set((found / "cache").iterdir())
    times = {path: path.stat().st_mtime_ns for path in before}
    assert main(search_flags(world, "more", "--cache", str(found / "cache"), shards="grown")) == 0
    made = {path.name.split("-")[0] for path in set((found / "cache").iterdir()) - before}
    assert made == {"embeddings", "hits"} and all(path.stat().st_mtime_ns == times[path] for path in before)
    assert len(set((found / "cache").iterdir()) - before) == 3  # embeddings, their counts, hits


def test_other_shards_of_the_same_images_give_the_same_hits(world, found):
    samples = [sample for number in (0, 1) for sample in read_samples(shard_paths(str(world / "shards"), number))]
    rows = [row(sample.metadata["url"].rsplit("/", 1)[-1].removesuffix(".jpg"), sample.image) for sample in samples]
    for number in range(5):
        write_shard(str(world / "divided"), number, rows[number::5][::-1])
    flags = ["--index", "ivf", "--max-hits", "5", "--cache", str(found / "cache")]  # so few vectors make no cells
    hits = []
    for name, shards in (("capped", "shards"), ("divided-capped", "divided")):
        assert main(search_flags(world, name, *flags, shards=shards)) == 0
        table = pq.read_table(world / name / "overlaps-00000-of-00001.parquet")
        hits.append(table.select(["dataset", "eval_key", "view", "uid", "region", "url", "similarity"]).to_pylist())
    assert hits[0] == hits[1] and len(hits[0]) > 24
    evaluated = [pq.read_table(world / name / "evaluation-00000-of-00001.parquet") for name in ("capped", "divided-capped")]
    assert evaluated[0].equals(evaluated[1])
    counts = [json.loads((world / name / "manifest.json").read_text())["counts"] for name in ("capped", "divided-capped")]
    sampled = [(one["pairs found by the index, on a sample"], one["pairs found by exact search, on the same"]) for one in counts]
    assert sampled[0] == sampled[1] and sampled[0][0] == sampled[0][1] == counts[0]["hits at or above the loose threshold"]


def test_images_are_compared_inside_their_set_but_never_with_themselves(world, found):
    """A set with a train split: one copy across the splits with another label, one mirrored, two of one picture in test."""
    for path, image in {
        "test/a/0.jpg": picture(7001),
        "test/a/1.jpg": picture(7002),
        "test/b/2.jpg": picture(7002),
        "test/b/3.jpg": picture(7003),
        "train/b/4.jpg": picture(7001),
        "train/b/5.jpg": picture(7003).transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "train/a/6.jpg": picture(7004),
    }.items():
        (world / "split" / path).parent.mkdir(parents=True, exist_ok=True)
        (world / "split" / path).write_bytes(encoded(image))
    flags = ["--within", "--cache", str(found / "cache"), "--eval", f"split={world / 'split'}", "--loose", "0.98"]
    assert main(search_flags(world, "inside", *flags)) == 0
    hits = pq.read_table(world / "inside" / "within-00000-of-00001.parquet").to_pylist()
    met = {(hit["eval_key"], hit["other_key"]): hit for hit in hits if hit["dataset"] == "split"}
    assert set(met) == {
        ("test/a/0.jpg", "train/b/4.jpg"), ("test/b/3.jpg", "train/b/5.jpg"),
        ("test/a/1.jpg", "test/b/2.jpg"), ("test/b/2.jpg", "test/a/1.jpg"),
    }  # fmt: skip
    crossed, mirrored = met["test/a/0.jpg", "train/b/4.jpg"], met["test/b/3.jpg", "train/b/5.jpg"]
    assert (crossed["split"], crossed["label"], crossed["other_label"], crossed["similarity"]) == ("train", 0, 1, 1)
    assert (mirrored["view"], mirrored["label"], mirrored["other_label"]) == ("flip", 1, 1)
    counts = json.loads((world / "inside" / "manifest.json").read_text())["counts"]
    assert counts["evaluation images"] == 28 and counts["other images"] == 31

    inside = read_overlaps(str(world / "inside"))
    law = inside.manifest["calibration"]
    settled = parse_thresholds([], inside)
    assert settled["split"] == max(threshold_for(law, 84), 0.98) and settled["split within"] == max(threshold_for(law, 31), 0.98)
    assert parse_thresholds(["split=0.985"], inside, {"split within": 0.99})["split within"] == 0.985
    assert parse_thresholds([], inside, {"split": 0.985})["split within"] == 0.985
    report = ["report", "--overlaps", str(world / "inside"), "--output", str(world / "inside-report"), "--threshold", "split within=0.99"]
    assert dedup(report) == 0
    inside = json.loads((world / "inside-report" / "overlap.json").read_text())["within"]
    columns = ("split", "threshold", "examples", "overlap", "contamination", "other_label")
    assert [tuple(one[name] for name in columns) for one in inside if one["dataset"] == "split"] == [
        ("test", 0.99, 4, 2, 0.5, 2),
        ("train", 0.99, 4, 2, 0.5, 1),
    ]
    page = (world / "inside-report" / "report.html").read_text()
    assert "Inside the sets" in page and "train: train/b/4.jpg" in page
    review = Review(read_overlaps(str(world / "inside")), str(world / "inside-review" / "labels.jsonl"), 5)
    place = next(number for number, pair in enumerate(review.samples["split within"].pairs) if pair.eval_key == "test/b/3.jpg")
    for side, wanted in (("evaluation", "test/b/3.jpg"), ("training", "train/b/5.jpg")):
        assert review.pictures["split within", place, side] == (world / "split" / wanted).read_bytes()
    for number in range(len(review.samples["split within"].pairs)):
        review.label("split within", number, "duplicate")
    assert read_thresholds(str(world / "inside-review" / "thresholds.json")).keys() == {"split within"}


def test_errors_leave_the_output_alone(world, found):
    manifest = (found / "manifest.json").read_bytes()
    for arguments, wanted in [
        (("--loose", "0.95"), "another run's output"),
        (("--views", "sideways"), "no view 'sideways'"),
        (("--detector", str(world / "set" / "a" / "0.jpg")), "safetensors"),
    ]:
        with pytest.raises(UserError, match=wanted):
            main(search_flags(world, "overlaps", *arguments))
    assert (found / "manifest.json").read_bytes() == manifest


def test_the_report_joins_predictions_and_lists_what_to_leave_out(world, found, capsys):
    images = pq.read_table(found / "evaluation-00000-of-00001.parquet")
    hit = [value is not None and value >= 0.98 for value in images["similarity"].to_pylist()]
    correct = images.select(["dataset", "eval_key"]).append_column("correct", [[flag or index % 2 == 0 for index, flag in enumerate(hit)]])
    pq.write_table(correct, world / "predictions.parquet")
    report = world / "report"
    flags = ["report", "--overlaps", str(found), "--output", str(report)]
    more = ["--predictions", str(world / "predictions.parquet"), "--remove", str(world / "remove.parquet")]
    assert dedup([*flags, *more, "--threshold", "drawn=0.98"]) == 0
    one = json.loads((report / "overlap.json").read_text())["sets"][0]
    assert one["overlap"] == sum(hit) >= 3 and one["accuracy_overlap"] == 1 and one["gain"] > 0
    removed = pq.read_table(world / "remove.parquet").column("uid").to_pylist()
    assert pair_uid("http://example.org/same.jpg", "same") in removed and removed == sorted(set(removed))
    page = (report / "report.html").read_text()
    assert page.count("data:image/jpeg") >= 3 and "http-equiv" in page

    # The trainer obeys the list: those pairs, and no others, are in no batch.
    sizes = {
        "embed": 16, "image_size": 16, "image_layers": [1], "image_width": 16, "image_heads": 2, "patch": 8,
        "text_width": 16, "text_heads": 2, "text_layers": 1, "context": 12, "vocabulary": 560,
    }  # fmt: skip
    (world / "sizes.json").write_text(json.dumps(sizes))
    train = ["--shards", str(world / "shards"), "--exclude", str(world / "remove.parquet"), "--model", str(world / "sizes.json")]
    more = ["--batch-size", "16", "--epochs", "1", "--workers", "0", "--device", "cpu", "--output", str(world / "clip")]
    capsys.readouterr()
    trainer([*train, *more])
    told = "".join(capsys.readouterr())
    assert f"left out: {len(removed)} excluded" in told and f"{85 - len(removed)} samples in 3 shards" in told
    with pytest.raises(UserError, match="lower --loose"):
        dedup([*flags, "--threshold", "drawn=0.1"])
