import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F

from trainer.evaluate.encoder import Encoder
from trainer.evaluate.retrieval import main, recalls
from trainer.load import load
from wit_builder.errors import UserError
from wit_builder.evalsets import Example, open_set, write_set


def captioned_set(folder, squares, broken=0):
    examples = [
        Example("", squares.picture(colour, seed), captions=(f"{name} {seed}", f"{seed} x {name}")[: 1 + seed % 2])
        for seed in range(7)
        for name, colour in squares.colours.items()
    ]
    examples += [Example("", squares.picture((9, 9, 9), 1))] * broken
    write_set(str(folder), {"test": examples}, suffix="png", per_tar=8)
    return folder


@pytest.mark.parametrize("prefix", ["", "a photo of "])
def test_recalls_equal_a_brute_force_count(vit, squares, run, tmp_path, prefix):
    folder = captioned_set(tmp_path / "set", squares)
    output, printed = run(main, "--checkpoint", vit, "--eval", f"s={folder}", "--prefix", prefix)
    loaded, examples = load(vit), list(open_set(str(folder), "s").examples())
    pixels = np.stack([loaded.preprocessing(example.image) for example in examples])
    captions = [(i, prefix + caption) for i, example in enumerate(examples) for caption in example.captions]
    with torch.inference_mode():
        images = F.normalize(loaded.model.encode_image(loaded.preprocessing.to_tensor(pixels)), dim=-1)
        texts = F.normalize(loaded.model.encode_text(loaded.tokenize([text for _, text in captions])), dim=-1)
    scores = (texts.double() @ images.double().T).numpy()
    of_texts = [sorted(scores[t], reverse=True).index(scores[t, owner]) for t, (owner, _) in enumerate(captions)]
    of_images = []
    for i in range(len(examples)):
        order = np.argsort(-scores[:, i])
        of_images.append(next(place for place, t in enumerate(order) if captions[t][0] == i))
    found = json.loads((output / "metrics.json").read_text())["sets"]["s"]
    for k in (1, 5, 10):
        assert found["text_to_image"][f"recall_at_{k}"]["value"] == np.mean(np.array(of_texts) < k)
        assert found["image_to_text"][f"recall_at_{k}"]["value"] == np.mean(np.array(of_images) < k)
    assert found["text_to_image"]["median_rank"] == np.median(of_texts) + 1
    rows = pq.read_table(output / "ranks-00000-of-00001.parquet").to_pylist()
    place = {example.eval_key: i for i, example in enumerate(examples)}
    written = {row["eval_key"]: row["before"] for row in rows if row["direction"] == "image_to_text"}
    assert written == {key: of_images[i] for key, i in place.items()}
    assert len(rows) == len(captions) + len(examples) and "R@5" in printed


def test_images_without_captions_are_counted_and_a_set_without_any_is_an_error(vit, squares, run, tmp_path, colours):
    folder = captioned_set(tmp_path / "set", squares, broken=2)
    output, _ = run(main, "--checkpoint", vit, "--eval", f"s={folder}")
    assert json.loads((output / "metrics.json").read_text())["sets"]["s"]["skipped"]["counts"] == {"no caption": 2}
    write_set(str(tmp_path / "bare"), {"test": [Example("", squares.picture((9, 9, 9), 1))]}, suffix="png")
    with pytest.raises(UserError, match="no image of s has a caption"):
        run(main, "--checkpoint", vit, "--eval", f"s={tmp_path}/bare", output="other")


def test_captions_are_embedded_once(vit, squares, run, tmp_path, monkeypatch):
    folder = captioned_set(tmp_path / "set", squares)
    flags = ["--checkpoint", vit, "--eval", f"s={folder}"]
    one, _ = run(main, *flags, output="one")
    monkeypatch.setattr(Encoder, "embed_batch", None)  # a call would fail
    two, _ = run(main, *flags, output="two")
    assert (one / "metrics.json").read_bytes() == (two / "metrics.json").read_bytes()


def test_recall_counts_places():
    found = recalls(np.array([0, 1, 4, 5, 30]))
    assert [found[f"recall_at_{k}"]["value"] for k in (1, 5, 10)] == [0.2, 0.6, 0.8] and found["median_rank"] == 5
