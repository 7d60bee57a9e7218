"""CLIP's own embeddings in the detector's place, with a model of random weights."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from learning import checkpoint
from pipelines.clip_baseline import load_clip
from pipelines.clip_baseline import main as measure
from pipelines.find_overlaps import main
from trainer.load import MODEL_PREFIX, describe, load
from trainer.model import build
from trainer.sizes import ModelConfig
from trainer.tokenizer import Tokenizer
from wit_builder.errors import UserError
from wit_builder.hashing import pair_uid
from wit_builder.shards import SUCCESS, ShardRow, write_shard

SIZES = ModelConfig(16, 32, (2,), 32, 2, patch=8, text_width=16, text_heads=2, text_layers=1, context=24, vocabulary=514)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> str:
    torch.set_num_threads(1)
    model = build(SIZES, 0)
    path = str(tmp_path_factory.mktemp("clip") / "model.safetensors")
    checkpoint.save(path, {MODEL_PREFIX + name: tensor for name, tensor in model.state_dict().items()}, describe(model, Tokenizer([])))
    return path


def pixels(seed: int, side: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def test_vectors_are_the_image_towers_own_whatever_company_a_picture_comes_in(clip):
    embedder = load_clip(clip)
    squares = [pixels(seed) for seed in range(35)]
    found = embedder.embed(squares)
    loaded = load(clip)
    with torch.inference_mode():
        wanted = loaded.model.encode_image(loaded.preprocessing.to_tensor(np.stack(squares))).numpy()
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(found.astype(np.float32), wanted, atol=2e-3)
    assert found.shape == (35, embedder.dimension) and (embedder.embed(squares[33:34]) == found[33]).all()


def test_a_search_with_them_finds_the_copy_and_says_what_it_was_made_with(clip, tmp_path):
    for number in range(2):
        path = tmp_path / "set" / "a" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(number)).save(path)
    url = "http://example.org/copy.png"
    image = (tmp_path / "set" / "a" / "1.png").read_bytes()
    write_shard(str(tmp_path / "shards"), 0, [ShardRow(pair_uid(url, ""), url, "", status=SUCCESS, image=image, width=32, height=32)])
    flags = ["--shards", str(tmp_path / "shards"), "--eval", f"noise={tmp_path / 'set'}", "--clip", clip, "--workers", "1"]
    with pytest.raises(UserError, match="give --loose"):
        main([*flags, "--output", str(tmp_path / "overlaps")])
    assert main([*flags, "--output", str(tmp_path / "overlaps"), "--loose", "0.9999", "--views", "none"]) == 0
    hits = pq.read_table(tmp_path / "overlaps" / "overlaps-00000-of-00001.parquet").to_pylist()
    assert ("a/1.png", 1.0) in [(hit["eval_key"], hit["similarity"]) for hit in hits]
    parameters = json.loads((tmp_path / "overlaps" / "manifest.json").read_text())["parameters"]
    assert parameters["clip"] is True and parameters["detector"] == load_clip(clip).sha256


def test_it_is_measured_on_the_battery_as_a_detector_is(clip, tmp_path):
    for number in range(18):
        path = tmp_path / "images" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels(number)).save(path)
    flags = ["--clip", clip, "--images", str(tmp_path / "images"), "--originals", "8", "--output", str(tmp_path / "measured")]
    assert measure(flags) == 0
    found = json.loads((tmp_path / "measured" / "evaluation.json").read_text())
    assert found["checkpoint"] == load_clip(clip).sha256 and found["originals"] == 8 and found["distractors"] == 10
    assert all(0 < one["average precision"] <= 1 for one in found["methods"].values())
