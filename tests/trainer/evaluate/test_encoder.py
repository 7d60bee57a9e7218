import dataclasses
import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import CLIPModel

from trainer.evaluate import zero_shot
from trainer.evaluate.encoder import load_encoder
from trainer.export import export
from trainer.load import load
from wit_builder.errors import UserError
from wit_builder.evalsets import open_set


def test_zero_shot_predictions_equal_hugging_face_s(vit, colours, run, tmp_path):
    """The exported random weights in transformers' CLIPModel, with pixels and token ids made there or by hand."""
    templates = ["a photo of a {}.", "the {}"]
    loaded, opened = load(vit), open_set(str(colours), "s")
    export(loaded.model, loaded.tokenizer, "huggingface", str(tmp_path / "hf"))
    theirs = CLIPModel.from_pretrained(tmp_path / "hf").eval()
    start, end = loaded.tokenizer.start, loaded.tokenizer.end

    def embed_text(text):
        ids = [start, *loaded.tokenizer.ids([text])[0], end]
        return F.normalize(pooled(theirs.get_text_features(input_ids=torch.tensor([ids]))), dim=-1)[0]

    def embed_image(example):
        # 48 by 40 pixels to 38 by 32, then the middle 32 columns: Pillow's bicubic, as transformers does it.
        pixels = Image.open(io.BytesIO(example.image)).convert("RGB").resize((38, 32), Image.Resampling.BICUBIC).crop((3, 0, 35, 32))
        mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
        values = ((torch.tensor(np.array(pixels)) / 255 - mean) / std).permute(2, 0, 1)[None]
        return F.normalize(pooled(theirs.get_image_features(pixel_values=values)), dim=-1)[0]

    with torch.inference_mode():
        classifier = []
        for name in opened.class_names:
            vectors = torch.stack([embed_text(template.replace("{}", name)) for template in templates])
            classifier.append(F.normalize(vectors.mean(dim=0), dim=0))
        scores = {example.eval_key: (embed_image(example) @ torch.stack(classifier).T).numpy() for example in opened.examples()}

    flags = ["--eval", f"colours={colours}", "--template", templates[0], "--template", templates[1]]
    output, _ = run(zero_shot.main, "--checkpoint", vit, *flags)
    rows = pq.read_table(output / "predictions-00000-of-00001.parquet").to_pylist()
    assert {row["eval_key"]: row["predicted"] for row in rows} == {key: value.argmax() for key, value in scores.items()}
    assert len(rows) == 18 and len({row["predicted"] for row in rows}) > 1


def pooled(output):
    """transformers 5 wraps the projected features."""
    return output if isinstance(output, torch.Tensor) else output.pooler_output


@pytest.mark.parametrize(("form", "name"), [("open_clip", "w.pt"), ("open_clip", "w.safetensors"), ("huggingface", "folder")])
def test_weights_of_others_give_the_same_predictions(vit, colours, squares, run, tmp_path, form, name):
    loaded = load(vit)
    export(loaded.model, loaded.tokenizer, form, str(tmp_path / name))
    (tmp_path / "sizes.json").write_text(json.dumps(squares.vit.to_json()))
    loaded.tokenizer.save(str(tmp_path / "tokenizer.json"))
    flags = ["--model", tmp_path / "sizes.json", "--tokenizer", tmp_path / "tokenizer.json", "--eval", f"colours={colours}"]
    theirs, _ = run(zero_shot.main, "--checkpoint", tmp_path / name, *flags, output="theirs")
    ours, _ = run(zero_shot.main, "--checkpoint", vit, "--eval", f"colours={colours}", output="ours")
    assert (theirs / "metrics.json").read_bytes() == (ours / "metrics.json").read_bytes()


def test_a_model_without_its_tokenizer_and_a_checkpoint_that_is_none(vit, tmp_path):
    with pytest.raises(UserError, match="--model and --tokenizer go together"):
        load_encoder(vit, model="RN50")
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="x.safetensors: not a whole safetensors file"):
        load_encoder(str(tmp_path / "x.safetensors"))


def test_mixed_precision_is_near_single(vit, colours):
    single, mixed = load_encoder(vit), load_encoder(vit, precision="bfloat16")
    assert single.identity != mixed.identity
    pixels = np.stack([single.loaded.preprocessing(example.image) for example in open_set(str(colours), "s").examples()])
    for ours, theirs in zip(single.embed_images(pixels), mixed.embed_images(pixels)):
        assert ours.dtype == theirs.dtype == np.float32
        np.testing.assert_allclose(theirs, ours, atol=0.05 * np.abs(ours).max())


def test_texts_do_not_depend_on_their_batch(vit):
    encoder = load_encoder(vit)
    texts = ["a", "a much longer text than that"]
    np.testing.assert_allclose(encoder.embed_texts(texts)[:1], encoder.embed_texts(texts[:1]), atol=1e-6)


def test_nonlinear_projection_is_applied(squares, tmp_path):
    config = dataclasses.replace(squares.vit, projection="nonlinear")
    path = squares.save_model(tmp_path / "convirt.safetensors", config)
    encoder, loaded = load_encoder(path), load(path)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = F.normalize(loaded.model.encode_image(loaded.preprocessing.to_tensor(pixels)), dim=-1)
    np.testing.assert_allclose(encoder.embed_images(pixels)[1], expected, atol=1e-6)
