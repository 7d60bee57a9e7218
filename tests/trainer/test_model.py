"""Models against the paper's sizes and against transformers' CLIPModel, which we did not write."""

import dataclasses
import json
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trainer.model import CLIP, build, recompute_activations
from trainer.sizes import MODELS, ModelConfig, model_config
from wit_builder.errors import UserError

SMALL_VIT = ModelConfig(32, 32, (2,), 48, 4, 8, text_width=32, text_heads=4, text_layers=2, context=12, vocabulary=600)
SMALL_RESNET = ModelConfig(32, 64, (1, 2, 1, 1), 8, 4, text_width=32, text_heads=4, text_layers=2, context=12, vocabulary=600)


def texts(config, batch=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.zeros(batch, config.context, dtype=torch.long)
    for row, length in zip(tokens, torch.randint(0, config.context - 3, (batch,), generator=generator)):
        row[0] = config.vocabulary - 2
        row[1 : length + 1] = torch.randint(1, config.vocabulary - 2, (int(length),), generator=generator)
        row[length + 1] = config.vocabulary - 1
    return tokens


@pytest.mark.parametrize("name, parameters, tensors", [("RN50", 102_007_137, 489), ("ViT-B/32", 151_277_313, 302)])
def test_sizes_are_those_of_the_released_models(name, parameters, tensors):
    with torch.device("meta"):
        model = CLIP(MODELS[name])
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert len(model.state_dict()) == tensors


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_the_shapes_of_the_table(name):
    config = MODELS[name]
    with torch.device("meta"):
        model = CLIP(config)
        images, embedded = model(torch.empty(2, 3, config.image_size, config.image_size), torch.empty(2, config.context, dtype=torch.long))
        features = model.image_features(torch.empty(2, 3, config.image_size, config.image_size))
    assert images.shape == embedded.shape == (2, config.embed)
    assert features.shape == (2, config.image_features)


def test_names_as_users_write_them():
    assert model_config("ViT-B-32") == model_config("vit-b/32") == MODELS["ViT-B/32"]
    assert model_config("ViT-L-14-336") == MODELS["ViT-L/14@336"]
    with pytest.raises(UserError, match="RN50x64"):
        model_config("RN51")
    with pytest.raises(UserError, match="multiple of text_heads"):
        dataclasses.replace(SMALL_VIT, text_heads=5)


def test_initial_deviations_are_the_papers():
    model = build(dataclasses.replace(MODELS["ViT-B/32"], image_layers=(1,), text_layers=6, vocabulary=2_000))
    width, layers = 512, 6
    block = model.transformer.resblocks[5]
    for tensor, deviation in [
        (model.token_embedding.weight, 0.02),
        (model.positional_embedding, 0.01),
        (block.attn.in_proj_weight, width**-0.5),
        (block.attn.out_proj.weight, width**-0.5 * (2 * layers) ** -0.5),
        (block.mlp.c_fc.weight, (2 * width) ** -0.5),
        (block.mlp.c_proj.weight, width**-0.5 * (2 * layers) ** -0.5),
        (model.text_projection, width**-0.5),
        (model.visual.proj, 768**-0.5),
        (model.visual.positional_embedding, 768**-0.5),
    ]:
        assert tensor.std().item() == pytest.approx(deviation, rel=0.03)
    assert model.logit_scale.item() == pytest.approx(math.log(1 / 0.07))
    resnet = build(SMALL_RESNET)
    assert all(block.bn3.weight.abs().max() == 0 for block in resnet.visual.blocks)
    assert torch.equal(build(SMALL_RESNET, seed=0).text_projection, resnet.text_projection)
    assert not torch.equal(build(SMALL_RESNET, seed=1).text_projection, resnet.text_projection)


@pytest.mark.parametrize("text", ["transformer", "cbow"])
def test_padding_does_not_matter(text):
    config = dataclasses.replace(SMALL_VIT, text=text)
    model = build(config).eval()
    tokens = texts(config)
    longest = int((tokens == config.vocabulary - 1).int().argmax(dim=1).max()) + 1
    assert longest < config.context
    torch.testing.assert_close(model.encode_text(tokens[:, :longest]), model.encode_text(tokens), atol=1e-6, rtol=1e-5)


def test_bag_of_words_knows_no_order_and_transformers_do():
    for text, same in (("cbow", True), ("transformer", False)):
        config = dataclasses.replace(SMALL_VIT, text=text)
        model = build(config).eval()
        tokens = torch.tensor([[598, 5, 6, 7, 599, 0], [598, 7, 5, 6, 599, 0]])
        first, second = model.encode_text(tokens)
        assert torch.allclose(first, second, atol=1e-6) == same


@pytest.mark.parametrize("config", [SMALL_VIT, SMALL_RESNET], ids=["vit", "resnet"])
def test_recomputed_activations_change_nothing(config):
    torch.manual_seed(0)
    images, tokens = torch.randn(4, 3, config.image_size, config.image_size), texts(config, 4)
    results = []
    for recompute in (False, True):
        model = build(config).train()
        for block in [] if config.is_vit else model.visual.blocks:
            nn.init.ones_(block.bn3.weight)
        recompute_activations(model, recompute)
        image, text = model(images, tokens)
        F.cross_entropy(image @ text.t(), torch.arange(4)).backward()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        results.append(gradients + [buffer.float() for buffer in model.buffers()])
    for plain, again in zip(*results):
        torch.testing.assert_close(plain, again)


@pytest.mark.parametrize(
    "sizes",
    [
        "[1]",
        '{"a": 1}',
        '{"embed": 8}',
        json.dumps(SMALL_VIT.to_json() | {"text_heads": 0}),
        json.dumps(SMALL_VIT.to_json() | {"embed": "8"}),
        json.dumps(SMALL_VIT.to_json() | {"image_layers": 2}),
        json.dumps(SMALL_VIT.to_json() | {"image_layers": [-2]}),
        json.dumps(SMALL_VIT.to_json() | {"image_width": 10**12}),
        json.dumps(SMALL_VIT.to_json() | {"context": 7.5}),
        json.dumps(SMALL_VIT.to_json() | {"logit_bias": "no"}),
    ],
)
def test_a_file_of_sizes_that_no_model_can_have_is_one_clear_error(tmp_path, sizes):
    (tmp_path / "sizes.json").write_text(sizes)
    with pytest.raises(UserError, match="model: |not a JSON object"):
        model_config(str(tmp_path / "sizes.json"))


def test_a_file_of_sizes_makes_the_model(tmp_path):
    (tmp_path / "sizes.json").write_text(json.dumps(SMALL_VIT.to_json()))
    assert model_config(str(tmp_path / "sizes.json")) == SMALL_VIT
