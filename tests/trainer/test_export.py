"""Exported models against transformers' CLIPModel, and the way back. benchmarks/trainer.py does the same against open_clip."""

import dataclasses
import gzip

import pytest
import torch
import transformers

from tests.trainer.test_model import SMALL_RESNET, SMALL_VIT, texts
from trainer.export import export
from trainer.model import build
from trainer.tokenizer import load_tokenizer, train_tokenizer
from trainer.weights import initialise_from, read_weights
from wit_builder.errors import UserError

# Heads 64 wide, as OpenAI's code takes them to be.
WIDE_VIT = dataclasses.replace(SMALL_VIT, image_width=128, image_heads=2, text_width=64, text_heads=1)


def test_transformers_computes_the_same(tmp_path):
    tokenizer = train_tokenizer(["a red dog", "the red dogs"] * 3, 530)
    sizes = dataclasses.replace(SMALL_VIT, vocabulary=tokenizer.vocabulary)
    model = build(sizes, seed=3).eval()
    export(model, tokenizer, "huggingface", str(tmp_path))
    theirs = transformers.CLIPModel.from_pretrained(tmp_path).eval()
    images, tokens = torch.randn(3, 3, sizes.image_size, sizes.image_size), texts(sizes)
    with torch.no_grad():
        image, text = model(images, tokens)
        output = theirs(input_ids=tokens, pixel_values=images)
    torch.testing.assert_close(output.image_embeds, image, rtol=0, atol=1e-5)
    torch.testing.assert_close(output.text_embeds, text, rtol=0, atol=1e-5)
    torch.testing.assert_close(output.logits_per_image, model.logit_scale.exp() * image @ text.t(), rtol=0, atol=1e-4)
    there = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ours = tokenizer.encode(["A red dog!"], sizes.context)[0]
    assert there(["A red dog!"])["input_ids"][0] == [int(i) for i in ours[: int(ours.argmax()) + 1]]
    with pytest.raises(UserError, match="already"):
        export(model, tokenizer, "huggingface", str(tmp_path))


@pytest.mark.parametrize("form", ["open_clip", "openai"])
def test_merges_lie_beside_the_weights_as_simple_tokenizers_read_them(form, tmp_path):
    tokenizer = train_tokenizer(["a red dog", "the red dogs", "élan"] * 3, 540)
    export(build(dataclasses.replace(WIDE_VIT, vocabulary=tokenizer.vocabulary)), tokenizer, form, str(tmp_path / "w.safetensors"))
    # As SimpleTokenizer.__init__ of OpenAI and open_clip has it, where every line is a merge, an empty one too.
    with gzip.open(tmp_path / "w.merges.txt.gz") as stream:
        merges = [tuple(line.split()) for line in stream.read().decode("utf-8").split("\n")[1 : 49152 - 256 - 2 + 1]]
    assert 512 + len(merges) + 2 == tokenizer.vocabulary and all(len(merge) == 2 for merge in merges)
    slow = transformers.CLIPTokenizer(vocab=dict(tokenizer._ids), merges=merges)
    for text in ["a red dog!", "the élan of 12 dogs"]:
        assert slow(text)["input_ids"] == [tokenizer.start, *tokenizer.ids([text])[0], tokenizer.end]
    assert load_tokenizer(str(tmp_path / "w.merges.txt.gz")).merges == tokenizer.merges


@pytest.mark.parametrize("form, name", [("huggingface", "folder"), ("openai", "w.pt"), ("open_clip", "w.safetensors")])
def test_weights_come_back_from_every_form(tmp_path, form, name):
    model = build(WIDE_VIT, seed=1)
    export(model, None, form, str(tmp_path / name))
    again = build(WIDE_VIT, seed=2)
    said = initialise_from(again, str(tmp_path / name))
    assert "0 tensors keep their fresh values, 0 of the file" in said
    for (name, ours), theirs in zip(model.state_dict().items(), again.state_dict().values()):
        assert torch.equal(ours, theirs), name


def test_resnets_go_to_open_clip_and_openai_names(tmp_path):
    model = build(SMALL_RESNET)
    export(model, None, "open_clip", str(tmp_path / "r.pt"))
    assert torch.load(tmp_path / "r.pt", weights_only=True).keys() == model.state_dict().keys()
    with pytest.raises(UserError, match="no ResNet"):
        export(model, None, "huggingface", str(tmp_path / "hf"))
    with pytest.raises(UserError, match="64 wide"):
        export(model, None, "openai", str(tmp_path / "o.pt"))


def test_larger_pictures_get_interpolated_positions(tmp_path):
    export(build(WIDE_VIT), None, "open_clip", str(tmp_path / "w.safetensors"))
    larger = build(dataclasses.replace(WIDE_VIT, image_size=64))
    initialise_from(larger, str(tmp_path / "w.safetensors"))
    before = build(WIDE_VIT).visual.positional_embedding
    after = larger.visual.positional_embedding
    assert after.shape == (65, 128) and torch.equal(after[0], before[0])
    torch.testing.assert_close(after[1:].mean(0), before[1:].mean(0), atol=5e-3, rtol=0.2)


class Evil:
    def __reduce__(self):
        return (open, ("ran-code", "w"))


def test_pickled_code_is_never_run(tmp_path):
    torch.save({"weights": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(UserError, match="without running code"):
        read_weights(str(tmp_path / "evil.pt"))
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "script.pt"))
    with pytest.raises(UserError, match="TorchScript"):
        read_weights(str(tmp_path / "script.pt"))


def test_weights_of_another_model_are_refused(tmp_path):
    export(build(WIDE_VIT), None, "open_clip", str(tmp_path / "w.safetensors"))
    with pytest.raises(UserError, match="shape"):
        initialise_from(build(SMALL_VIT), str(tmp_path / "w.safetensors"))
    resnet = {name: tensor for name, tensor in build(SMALL_RESNET).state_dict().items() if not name.startswith("visual.layer2")}
    torch.save(resnet, tmp_path / "part.pt")
    with pytest.raises(UserError, match="missing, first visual.layer2"):
        initialise_from(build(SMALL_RESNET), str(tmp_path / "part.pt"))
