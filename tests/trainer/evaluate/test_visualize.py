"""Pictures optimised for units of both kinds of tower: the values rise, and are those of the written pictures."""

import base64
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from learning import checkpoint
from learning.images import crop_resized, decode
from trainer.evaluate import report, visualize
from trainer.evaluate.encoder import load_encoder
from trainer.evaluate.targets import numbers
from trainer.evaluate.visualize import main
from trainer.guidance import normalised
from trainer.layers import EMBEDDING, FEATURES, answer, layers_of
from trainer.load import MODEL_PREFIX, describe
from trainer.model import build
from trainer.redirect import RedirectedReLU
from trainer.tokenizer import Tokenizer
from wit_builder.errors import UserError
from wit_builder.evalsets import open_set

FAST = ["--steps", "24", "--rate", "0.2"]


@pytest.fixture(scope="module")
def awake(squares, tmp_path_factory):
    """A ResNet whose blocks pass signals on, its batch norms fitted to noise: a fresh one answers nearly the same to everything."""
    model = build(squares.resnet, 0)
    for block in model.visual.blocks:
        torch.nn.init.ones_(block.bn3.weight)
    with torch.no_grad():
        for seed in range(20):
            model.train().image_features(torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(seed)))
    tensors = {MODEL_PREFIX + name: tensor for name, tensor in model.state_dict().items()}
    path = str(tmp_path_factory.mktemp("awake") / "resnet.safetensors")
    checkpoint.save(path, tensors, describe(model, Tokenizer([])))
    return path


def visualise(output, *arguments):
    assert main([*map(str, arguments), "--output", str(output)]) == 0
    return json.loads((output / "metrics.json").read_text())["pictures"]


def seen(loaded, path):
    """A written picture as the model's input."""
    pixels = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None] / 255
    return normalised(pixels, loaded.preprocessing)


@pytest.mark.parametrize(("fixture", "layer"), [("vit", "transformer.resblocks.1"), ("awake", "layer2.0")])
def test_values_rise_and_are_those_of_the_pictures(fixture, layer, request, tmp_path):
    path = request.getfixturevalue(fixture)
    flags = ["--checkpoint", path, "--layer", layer, "--channel", 1, "2-3", "--neuron", 0, "--text", "a <b>", "--against", "c"]
    made = visualise(tmp_path / "out", *flags, "--text", "red", *FAST)
    assert [one["title"] for one in made] == [*(f"{layer}, channel {i}" for i in (1, 2, 3)), f"{layer}, neuron 0", "“a <b>”", "“red”"]
    assert all(one["end"] > one["start"] + (0.5 if one["kind"] == "text" else 0.02) for one in made)
    loaded = load_encoder(path).loaded
    scale = float(loaded.model.logit_scale.detach().exp())
    for one in made:
        inputs = seen(loaded, tmp_path / "out" / "pictures" / one["picture"])
        assert inputs.shape == (1, 3, 32, 32)
        with torch.no_grad():
            if one["kind"] == "text":
                image, texts = loaded.model(inputs, loaded.tokenize([one["text"], "c"]))
                value = scale * (image @ (texts[0] - texts[1]))
            else:
                maps = answer(loaded.model, layer, inputs)[0, one["channel"]]
                value = maps.mean() if one["kind"] == "channel" else maps[maps.shape[0] // 2, maps.shape[1] // 2]
        assert float(value) == pytest.approx(one["end"], abs=0.03 * abs(one["end"]) + 0.02)  # but for rounding to 8 bits
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<figure>") == 6 and "“a &lt;b&gt;”" in page and f"<h2>What {layer} looks for" in page


def test_answers_equal_the_towers(vit, resnet):
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for path, last, side in ((vit, "transformer.resblocks.1", 4), (resnet, "layer3.0", 2)):
        model = load_encoder(path).model
        layers = layers_of(model)
        assert [layers[name].channels for name in (FEATURES, EMBEDDING)] == [model.config.image_features, model.config.embed]
        for layer in layers.values():
            assert answer(model, layer.name, images).shape == (2, layer.channels, layer.height, layer.width)
        assert torch.equal(answer(model, EMBEDDING, images)[..., 0, 0], model.encode_image(images))
        assert layers[last].height == side
    model = load_encoder(vit).model
    # The patches' embeddings, computed without the convolution, and the class token at its place before the first block.
    patches = F.unfold(images, 8, stride=8).transpose(1, 2) @ model.visual.conv1.weight.flatten(1).T  # [b, 16, w]
    torch.testing.assert_close(answer(model, "conv1", images).flatten(2).transpose(1, 2), patches, atol=1e-5, rtol=1e-4)
    normed = model.visual.ln_pre(patches + model.visual.positional_embedding[1:])
    torch.testing.assert_close(answer(model, "ln_pre", images).flatten(2).transpose(1, 2), normed, atol=1e-5, rtol=1e-4)


def test_same_bytes_by_seed_and_another_picture_by_another(vit, tmp_path):
    flags = ["--checkpoint", vit, "--layer", FEATURES, "--channel", 0, "--copies", 2, "--steps", 3]
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        visualise(tmp_path / name, *flags, "--seed", seed)
    pictures = [f"pictures/features-channel-0-{copy}.png" for copy in (1, 2)]
    one, same, other = ([(tmp_path / name / picture).read_bytes() for picture in pictures] for name in ("one", "same", "other"))
    assert one == same and len({*one, *other}) == 4
    for file in ("metrics.json", "report.html", "manifest.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "same" / file).read_bytes()


def test_least_instead_of_most_and_a_whole_layer_of_another_size(vit, tmp_path):
    (made,) = visualise(tmp_path / "a", "--checkpoint", vit, "--layer", FEATURES, "--channel", 0, "--minimise", *FAST)
    assert made["end"] < made["start"] - 0.05
    flags = ["--layer", "ln_pre", "--size", 40, "--parametrisation", "pixels"]
    (made,) = visualise(tmp_path / "b", "--checkpoint", vit, *flags, *FAST)
    assert made["kind"] == "layer" and made["end"] > made["start"]
    assert Image.open(tmp_path / "b" / "pictures" / "ln_pre.png").size == (40, 40)


def test_interrupted_run_goes_on_and_leaves_nothing_half_written(vit, tmp_path, monkeypatch):
    flags = ["--checkpoint", vit, "--layer", FEATURES, "--channel", "0-3", "--batch-size", 2, "--steps", 2]
    visualise(tmp_path / "whole", *flags)
    true, calls = visualize.optimise, []

    def interrupted(*given):
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return true(*given)

    monkeypatch.setattr(visualize, "optimise", interrupted)
    with pytest.raises(KeyboardInterrupt):
        visualise(tmp_path / "out", *flags)
    assert not (tmp_path / "out" / "manifest.json").exists()
    visualise(tmp_path / "out", *flags)
    assert len(calls) == 3  # the first chunk was not made again

    def written(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "run.json"}

    assert written(tmp_path / "out") == written(tmp_path / "whole")


def test_pictures_join_the_report(vit, colours, tmp_path, run):
    visualise(tmp_path / "pictures", "--checkpoint", vit, "--text", "red", "--steps", 2)
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "s").symlink_to(colours)
    without = ["--without", "linear-probe", "few-shot", "retrieval"]
    output, _ = run(report.main, "--checkpoint", vit, "--sets", tmp_path / "sets", "--include", tmp_path / "pictures", *without)
    page = (output / "report.html").read_text()
    picture = base64.b64encode((tmp_path / "pictures" / "pictures" / "text-1.png").read_bytes()).decode()
    assert "<h2>What texts look like" in page and picture in page
    assert str(tmp_path) not in (output / "manifest.json").read_text()


def test_pictures_of_a_folder_that_excite_most(vit, colours, tmp_path):
    flags = ["--checkpoint", vit, "--layer", "transformer.resblocks.0", "--channel", 3, "--neuron", 5, "--text", "red", "--steps", 1]
    made = visualise(tmp_path / "out", *flags, "--images", colours, "--batch-size", 7)
    loaded, values = load_encoder(vit).loaded, {}
    for example in open_set(str(colours), "s").examples():
        inputs = loaded.preprocessing.to_tensor(loaded.preprocessing(example.image)[None].copy())
        with torch.no_grad():
            maps = answer(loaded.model, "transformer.resblocks.0", inputs)[0]
            image, text = loaded.model(inputs, loaded.tokenize(["red"]))
            scale = loaded.model.logit_scale.exp()
            values[example.eval_key] = [float(value) for value in (maps[3].mean(), maps[5, 2, 2], scale * (image @ text.T).squeeze())]
    for column, one in enumerate(made):
        expected = sorted(values, key=lambda key: -values[key][column])[:9]
        assert [found["eval_key"] for found in one["images"]] == expected
        assert [found["value"] for found in one["images"]] == pytest.approx([values[key][column] for key in expected], abs=1e-4)
    montage = np.array(Image.open(tmp_path / "out" / "pictures" / "text-1-images.jpg"))
    assert montage.shape == (288, 288, 3)
    best = next(example for example in open_set(str(colours), "s").examples() if example.eval_key == made[2]["images"][0]["eval_key"])
    assert np.abs(montage[:96, :96].mean(axis=(0, 1)) - crop_resized(decode(best.image), 96).mean(axis=(0, 1))).max() < 3
    assert (tmp_path / "out" / "report.html").read_text().count("<figure>") == 6
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no usable picture"):
        visualise(tmp_path / "other", *flags, "--images", tmp_path / "empty")


def test_list_names_what_can_be_asked_for(resnet, capsys):
    assert main(["--checkpoint", resnet, "--list"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["layer2.0", "32", "channels", "4×4", "Bottleneck"] in lines and lines[-1][:2] == [EMBEDDING, "16"]


def test_redirected_relu():
    x = torch.tensor([[-1.0, -2.0], [-1.0, 3.0]], requires_grad=True)
    weights = torch.tensor([[-1.0, 1.0], [-1.0, 1.0]])  # descent raises the first of each row, and lowers the second
    with RedirectedReLU():
        y = F.relu(x * 1, inplace=True)
    (y * weights).sum().backward()
    assert torch.equal(y, F.relu(x))
    # A silent row: what would raise it passes. The other row: as ever.
    assert torch.equal(x.grad, torch.tensor([[-1.0, 0.0], [0.0, 1.0]]))


def test_numbers():
    assert numbers(["3", "1-2", "3"], 4, "--channel") == [3, 1, 2]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--layer", "layer9", "--output", "x"], "no layer 'layer9'"),
        (["--layer", "ln_pr", "--output", "x"], "perhaps ln_pre"),
        (["--layer", FEATURES, "--channel", "32", "--output", "x"], "not within 0-31"),
        (["--layer", FEATURES, "--channel", "5-3", "--output", "x"], "not within 0-31"),
        (["--layer", FEATURES, "--neuron", "-1", "--output", "x"], "'-1' is no number and no range"),
        (["--channel", "3", "--output", "x"], "of which layer"),
        (["--against", "a", "--output", "x"], "against which text"),
        (["--text", " ", "--output", "x"], "an empty text"),
        (["--output", "x"], "nothing to optimise"),
        (["--text", "a"], "no folder for the pictures"),
    ],
)
def test_what_the_user_can_mend_is_one_clear_error(vit, flags, message):
    with pytest.raises(UserError, match=message):
        main(["--checkpoint", vit, *flags])
