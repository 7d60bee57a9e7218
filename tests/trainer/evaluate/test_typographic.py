"""Words written on pictures: where they stand, whose names they are, and rates equal to a count by hand."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy import stats

from learning.images import crop_resized, decode
from trainer.evaluate import report
from trainer.evaluate.attacks import NONE, attack_rates, first_by_hash, shuffled, written_classes
from trainer.evaluate.encoder import load_encoder
from trainer.evaluate.lettering import LONGEST, MARGIN, PLACES, letter, seen_square
from trainer.evaluate.typographic import main
from wit_builder.errors import UserError
from wit_builder.evalsets import open_set

NAMES = ["red", "green", "blue"]


def changed(before, after):
    """Left, top, right and bottom of what differs, as shares of the side."""
    rows, columns = np.nonzero((np.asarray(before) != np.asarray(after)).any(axis=-1))
    return columns.min() / before.width, rows.min() / before.height, (columns.max() + 1) / before.width, (rows.max() + 1) / before.height


@pytest.mark.parametrize("box", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_words_stand_where_they_should(place, box):
    ground = Image.new("RGB", (200, 200), (90, 120, 150))
    left, top, right, bottom = changed(ground, letter(ground, "plug", 0.2, place, box=box))
    gaps = {"left": left, "right": 1 - right, "top": top, "bottom": 1 - bottom}
    assert min(gaps.values()) > 0
    for side in place.split("-"):
        if side != "middle":
            assert gaps[side] <= MARGIN + 0.02  # and a letter's own bearing
    if place in ("top", "middle", "bottom"):
        assert (left + right) / 2 == pytest.approx(0.5, abs=0.02)
    if place == "middle":
        assert (top + bottom) / 2 == pytest.approx(0.5, abs=0.02)
    assert 0.1 < bottom - top < 0.3 and ground.getpixel((5, 5)) == (90, 120, 150)


def test_words_that_are_too_wide_or_too_long():
    ground = Image.new("RGB", (120, 120), "grey")
    left, _, right, _ = changed(ground, letter(ground, "a rather wide label", 0.5, "middle"))
    assert left >= MARGIN - 0.01 and right <= 1 - MARGIN + 0.01 and right - left > 0.8
    assert letter(ground, "x" * LONGEST, 0.2, "top") == letter(ground, "x" * 100_000, 0.2, "top")
    assert letter(ground, "Ωж 猫", 0.2, "top") != ground
    for hostile in ("", "\u200b", "\u202eabc", "e" + "\u0301" * 99, "\x01", "a\nb"):
        assert letter(ground, hostile, 1.0, "bottom", box=True).size == ground.size


@pytest.mark.parametrize(("shape", "wanted"), [((20, 30), 64), ((100, 80), 80), ((500, 400), 128)])
def test_the_square_is_what_the_model_sees(shape, wanted):
    ramp = np.linspace(0, 255, shape[0]).astype(np.uint8)
    image = Image.fromarray(np.broadcast_to(ramp[None, :, None], (shape[1], shape[0], 3)).copy())
    square = seen_square(image, 64)
    assert square.size == (wanted, wanted)
    assert np.abs(crop_resized(square, 64).astype(int) - crop_resized(image, 64)).max() <= 6


def test_another_name_is_written_the_same_for_a_key():
    names, labels = ["a", "b", "b", "c"], np.array([0, 1, 2, 3] * 50)
    keys = [f"k{i}" for i in range(200)]
    found = written_classes(keys, labels, names, 0)
    assert all(names[written] != names[label] for written, label in zip(found, labels))
    assert set(found[labels == 0].tolist()) == {1, 2, 3} and set(found[labels == 1].tolist()) == {0, 3}
    assert (written_classes(keys[::-1], labels[::-1], names, 0)[::-1] == found).all()
    assert (written_classes(keys, labels, names, 1) != found).any()
    # One class on all pictures of others; where it shares its name there is nothing to write.
    assert written_classes(["x", "y", "z"], np.array([0, 1, 3]), names, 0, target=2).tolist() == [2, NONE, 2]
    assert np.count_nonzero(first_by_hash(keys, labels > 0, 20, 0)) == 20 and not first_by_hash(keys, labels > 0, 20, 0)[labels == 0].any()
    assert first_by_hash(keys, labels > 0, 0, 0).tolist() == (labels > 0).tolist()


def test_shuffled_letters():
    assert sorted(shuffled("granny smith", 0)) == sorted("granny smith") and shuffled("granny smith", 0) != "granny smith"
    assert shuffled("granny smith", 0) == shuffled("granny smith", 0) and shuffled("aaa", 0) == "aaa"


def test_rates_equal_loops():
    random, n, ways = np.random.default_rng(0), 40, [(0.1, "top"), (0.1, "middle"), (0.2, "top")]
    labels, written = random.integers(0, 3, n), random.integers(3, 6, n)
    before, after, control = random.integers(0, 6, n), random.integers(0, 6, (n, 3)), random.integers(0, 6, (n, 3))
    found = attack_rates(labels, written, before, after, control, ways)
    assert found["before"]["hits"] == sum(before[i] == labels[i] for i in range(n))
    assert found["written_before"]["hits"] == sum(before[i] == written[i] for i in range(n))
    for j, one in enumerate(found["conditions"]):
        right = [i for i in range(n) if before[i] == labels[i]]
        assert (one["size"], one["place"]) == ways[j]
        assert one["after"]["hits"] == sum(after[i, j] == labels[i] for i in range(n))
        assert one["turned"]["hits"] == sum(after[i, j] == written[i] for i in right) and one["turned"]["total"] == len(right)
        assert one["control_success"]["hits"] == sum(control[i, j] == written[i] for i in range(n))
        hits = sum(after[i, j] == written[i] for i in range(n))
        interval = stats.binomtest(int(hits), n).proportion_ci(0.995, method="exact")
        assert one["success"]["hits"] == hits and (one["success"]["low"], one["success"]["high"]) == pytest.approx(tuple(interval))
    small = [any(after[i, j] == written[i] for j in (0, 1)) for i in range(n)]
    assert found["by_size"]["0.1"]["any"]["hits"] == sum(small)
    assert found["by_size"]["0.1"]["mean"] == pytest.approx(np.mean([after[i, j] == written[i] for i in range(n) for j in (0, 1)]))
    assert found["by_place"]["top"]["any"]["hits"] == sum(any(after[i, j] == written[i] for j in (0, 2)) for i in range(n))
    assert attack_rates(labels, written, np.full(n, 9), after, None, ways)["conditions"][0]["turned"] is None


def test_command_equals_a_count_by_hand_and_joins_the_report(vit, colours, run, tmp_path):
    flags = ["--checkpoint", vit, "--eval", f"s={colours}", "--sizes", 0.2, 0.4, "--places", "top", "bottom-right", "--control", "--box"]
    output, printed = run(main, *flags)
    found = json.loads((output / "metrics.json").read_text())["sets"]["s"]
    rows = pq.read_table(output / "attacks-00000-of-00001.parquet").to_pylist()
    encoder, opened = load_encoder(vit), open_set(str(colours), "s")
    texts = {name: encoder.embed_texts([f"a {name} square.", name]).mean(axis=0) for name in NAMES}
    classifier = np.stack([texts[name] / np.linalg.norm(texts[name]) for name in NAMES])

    def says(pixels):
        return int((classifier @ encoder.embed_images(pixels[None].copy())[1][0]).argmax())

    examples = {example.eval_key: example for example in opened.examples()}
    assert len(rows) == 18 * 4 and len(examples) == 18
    for row in rows[:8] + rows[-8:]:
        example, word = examples[row["eval_key"]], NAMES[row["written"]]
        square, size = seen_square(decode(example.image), 32), 0.2 if row["size"] < 0.3 else 0.4
        assert row["label"] == example.label != row["written"] and row["before"] == says(crop_resized(decode(example.image), 32))
        assert row["after"] == says(crop_resized(letter(square, word, size, row["place"], box=True), 32))
        assert row["control"] == says(crop_resized(letter(square, shuffled(word, 0), size, row["place"], box=True), 32))
    for one in found["conditions"]:
        of = [row for row in rows if row["size"] == np.float32(one["size"]) and row["place"] == one["place"]]
        assert one["after"]["hits"] == sum(row["after"] == row["label"] for row in of) and one["after"]["total"] == len(of) == 18
        assert one["success"]["hits"] == sum(row["after"] == row["written"] for row in of)
        assert one["control_after"]["hits"] == sum(row["control"] == row["label"] for row in of)
    assert sum(one["images"] for one in found["by_written"]) == 18
    best = max(found["conditions"], key=lambda one: one["success"]["hits"])
    assert f"{100 * best['success']['value']:.2f}% taken for the written class" in printed
    page = (output / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 1 and "<figure>" in page and "Names that mislead most on s" in page

    again, _ = run(main, *flags, output="again")
    for name in ("metrics.json", "report.html", "manifest.json", "attacks-00000-of-00001.parquet"):
        assert (output / name).read_bytes() == (again / name).read_bytes()

    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "s").symlink_to(colours)
    without = ["--without", "linear-probe", "few-shot", "retrieval"]
    joined, _ = run(report.main, "--checkpoint", vit, "--sets", tmp_path / "sets", "--include", output, *without, output="report")
    assert "<h2>Words written on pictures of s" in (joined / "report.html").read_text()


def test_one_class_on_some_images(vit, colours, run):
    flags = ["--checkpoint", vit, "--eval", f"s={colours}", "--sizes", 0.3, "--places", "middle", "--target", "blue", "--images", 5]
    output, _ = run(main, *flags)
    rows = pq.read_table(output / "attacks-00000-of-00001.parquet").to_pylist()
    assert len(rows) == 5 and {row["written"] for row in rows} == {2} and {row["label"] for row in rows} <= {0, 1}
    assert {row["control"] for row in rows} == {None}
    drops = json.loads((output / "manifest.json").read_text())["drops"]
    assert drops == {"s: no other name to write": 6, "s: not among --images": 7}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--target", "purple"], "no one class 'purple' in s"),
        (["--font", "{}/classnames.txt"], "no font"),
    ],
)
def test_what_the_user_can_mend_is_one_clear_error(vit, colours, run, flags, message):
    with pytest.raises(UserError, match=message):
        run(main, "--checkpoint", vit, "--eval", f"s={colours}", *(flag.format(colours) for flag in flags))


def test_sets_that_cannot_be_attacked(vit, squares, run, tmp_path):
    several = [replace(example, label=None, labels=(0, 1)) for example in squares.coloured("test", 2)]
    squares.write_colours(tmp_path / "several", test=several)
    with pytest.raises(UserError, match="several labels"):
        run(main, "--checkpoint", vit, "--eval", f"s={tmp_path / 'several'}")
