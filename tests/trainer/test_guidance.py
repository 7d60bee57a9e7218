"""CLIP as a loss: its preprocessing, its gradient, and pixels that come to fit a text."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from learning.images import crop_resized
from trainer.guidance import Cutouts, Guidance, frozen, normalised, resized
from trainer.load import Loaded, Preprocessing
from trainer.model import build, halve_text
from trainer.pixels import Fourier, Plain, Shake, as_bytes, optimise
from trainer.sizes import ModelConfig
from trainer.tokenizer import Tokenizer
from wit_builder.errors import UserError

VIT = ModelConfig(16, 32, (2,), 32, 2, patch=8, text_width=16, text_heads=2, text_layers=1, context=24, vocabulary=514)
RESNET = ModelConfig(16, 32, (1, 1, 1, 1), 4, 4, text_width=16, text_heads=2, text_layers=1, context=24, vocabulary=514)
COLOURS = ("red", "green", "blue", "grey")


def made(config, dtype=torch.float32):
    return Loaded(build(config, 0).to(dtype).eval(), Tokenizer([]), Preprocessing(config.image_size), {})


@pytest.fixture(scope="module")
def taught():
    """A ViT that has learned to tell red, green, blue and grey pictures, whatever their texture."""
    loaded = made(VIT)
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(loaded.model.parameters(), lr=3e-3)
    tokens = loaded.tokenize([f"a {name} picture" for name in COLOURS])
    labels = torch.arange(16) % 4
    for _ in range(60):
        texture = F.interpolate(torch.rand(16, 3, 6, 6, generator=generator), (32, 32), mode="bilinear")
        tint = torch.cat([torch.eye(3), torch.ones(1, 3)])[labels, :, None, None]  # [16, 3, 1, 1]
        images = 0.6 * texture + 0.4 * tint * torch.rand(16, 1, 1, 1, generator=generator)
        vectors, texts = loaded.model(normalised(images, loaded.preprocessing), tokens)
        optimiser.zero_grad()
        F.cross_entropy(20 * vectors @ texts.T, labels).backward()
        optimiser.step()
    return loaded


def smooth(height, width):
    """A smooth picture, uint8 [h, w, 3], which no resampling overshoots."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    return (np.stack([y, x, (x + y) / 2], axis=-1) * 180 + 30).round().astype(np.uint8)


@pytest.mark.parametrize("shape", [(32, 32), (64, 64), (50, 71), (91, 40), (17, 20)])
def test_preprocessing_is_the_evaluations(shape):
    pixels = smooth(*shape)
    expected = crop_resized(Image.fromarray(pixels), 32)
    found = resized(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255, 32)
    assert np.abs(found[0].permute(1, 2, 0).numpy() * 255 - expected).max() < 1.01  # Pillow rounds between its two passes
    plain = Preprocessing(32)
    batch = torch.from_numpy(expected.copy())[None]
    torch.testing.assert_close(normalised(batch.permute(0, 3, 1, 2) / 255, plain), plain.to_tensor(batch), atol=1e-5, rtol=0)


@pytest.mark.parametrize("config", [VIT, RESNET])
@pytest.mark.parametrize("distance", ["cosine", "spherical"])
def test_gradient_against_finite_differences(config, distance):
    guidance = Guidance(
        made(config, torch.float64), {"a red picture": 1.0, "blue": -0.5}, views=Cutouts(3, noise=0.1), distance=distance
    )
    images = torch.rand(2, 3, 40, 36, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()

    def loss(images):
        return guidance(images, torch.Generator().manual_seed(7))

    assert torch.autograd.gradcheck(loss, (images,), fast_mode=True)
    loss(images).sum().backward()
    assert images.grad.abs().amax(dim=(2, 3)).min() > 0


def test_scores_and_loss_by_hand(taught):
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        vectors, texts = taught.model(normalised(images, taught.preprocessing), taught.tokenize(["red", "a green picture"]))
    cosines = vectors @ texts.T
    guidance = Guidance(taught, {"red": 2.0, "a green picture": -1.0})
    torch.testing.assert_close(guidance.scores(images), cosines)
    torch.testing.assert_close(guidance(images), (2 * (1 - cosines[:, 0]) - (1 - cosines[:, 1])) / 3)
    spherical = Guidance(taught, ["red"], distance="spherical")(images)
    chord = (vectors - texts[0]).norm(dim=-1)
    torch.testing.assert_close(spherical, 2 * (chord / 2).asin() ** 2, atol=1e-4, rtol=1e-4)


def test_weights_take_no_gradient_and_the_model_stays_as_it_was(taught):
    model = taught.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for parameter in model.parameters():
        parameter.grad = None
    images = torch.rand(1, 3, 32, 32, requires_grad=True)
    Guidance(taught, ["red"], views=Cutouts(4))(images).sum().backward()
    assert images.grad.abs().max() > 0
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    copy = frozen(model)
    assert copy.visual.proj.data_ptr() == model.visual.proj.data_ptr() and not copy.visual.proj.requires_grad


def test_a_model_in_training_with_half_of_its_text_in_bfloat16():
    loaded = made(VIT)
    expected = Guidance(loaded, ["red"]).scores(images := torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(5)))
    halve_text(loaded.model.train())
    with torch.autocast("cpu", torch.bfloat16):
        scores = Guidance(loaded, ["red"]).scores(images)
    assert scores.dtype == torch.float32 and loaded.model.training
    torch.testing.assert_close(scores, expected, atol=0.03, rtol=0)


def test_cutouts():
    images = torch.rand(2, 3, 40, 60, generator=torch.Generator().manual_seed(3))
    cutouts = Cutouts(5, whole=2, smallest=0.5)
    views = cutouts(images, 32, torch.Generator().manual_seed(4))
    assert views.shape == (5, 2, 3, 32, 32)
    assert torch.equal(views[0], resized(images, 32)) and torch.equal(views[1], views[0]) and not torch.equal(views[2], views[3])
    assert torch.equal(cutouts(images, 32, torch.Generator().manual_seed(4)), views)
    # Cuts as large as a square picture, neither mirrored nor noisy, are the picture.
    square = images[..., :40]
    plain = Cutouts(3, whole=0, smallest=1.0, flip=False, noise=0)(square, 32)
    assert torch.equal(plain[1], resized(square, 32))


@pytest.mark.parametrize("parametrisation", [Fourier, Plain])
@pytest.mark.parametrize("channel", range(3))
def test_pixels_optimised_for_a_colour_take_it(taught, parametrisation, channel):
    weights = {f"a {name} picture": 1.0 if name == COLOURS[channel] else -1 / 3 for name in COLOURS}
    guidance = Guidance(taught, weights, views=Cutouts(6))
    picture, generator = parametrisation(36, 44, [channel]), torch.Generator().manual_seed(0)
    losses = optimise(picture, lambda images: guidance(images, generator), 60, rate=0.2)
    assert losses[-1, 0] < losses[0, 0]
    pixels = as_bytes(picture())
    assert pixels.shape == (1, 36, 44, 3) and pixels.dtype == np.uint8
    means = (pixels.mean(axis=(0, 1, 2)) / 255).tolist()

    assert means[channel] > 0.05 + max(mean for other, mean in enumerate(means) if other != channel)


def test_fourier_parametrisation_by_numpy():
    """As Lucid writes it: coefficients over their frequency, times √(h·w), NumPy's inverse transform, a quarter, colours, sigmoid."""
    height, width = 10, 14
    picture = Fourier(height, width, [3])
    spectrum = picture.spectrum.detach().numpy()[0].astype(float)  # [3, h, w/2 + 1, 2]
    frequency = np.sqrt(np.fft.fftfreq(height)[:, None] ** 2 + np.fft.rfftfreq(width)[None] ** 2)
    scaled = (spectrum[..., 0] + 1j * spectrum[..., 1]) / np.maximum(frequency, 1 / max(height, width)) * np.sqrt(height * width)
    planes = np.fft.irfft2(scaled, s=(height, width)) / 4
    root = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
    colours = planes.transpose(1, 2, 0) @ (root / np.linalg.norm(root, axis=0).max()).T  # [h, w, 3]
    np.testing.assert_allclose(picture()[0].permute(1, 2, 0).detach().numpy(), 1 / (1 + np.exp(-colours)), atol=1e-6)


def test_pictures_do_not_influence_one_another(taught):
    guidance = Guidance(taught, ["a red picture"])

    def run(seeds):
        picture, generators = Fourier(32, 32, seeds), [torch.Generator().manual_seed(seed) for seed in seeds]
        optimise(picture, lambda images: guidance(Shake()(images, generators)), 5)
        return picture().detach()

    torch.testing.assert_close(run([5, 6])[1:], run([6]), atol=1e-3, rtol=0)


def test_shake_moves_as_it_says():
    def distance(shake, seed):
        """Of a point that stood ten pixels to the right of the centre, and where it is."""
        images = torch.full((1, 3, 33, 65), 0.5)
        images[..., 15:18, 41:44] = 1
        moved = (shake(images, [torch.Generator().manual_seed(seed)])[0, 0] - 0.5).double()
        y, x = torch.meshgrid(torch.arange(33.0), torch.arange(65.0), indexing="ij")
        place = [float((moved * axis).sum() / moved.sum()) - middle for axis, middle in ((y, 16), (x, 32))]
        return np.hypot(*place), place

    assert distance(Shake(0, 0, 0), 0) == (pytest.approx(10, abs=1e-4), pytest.approx([0, 10], abs=1e-4))
    turned = [distance(Shake(0, 80, 0), seed) for seed in range(4)]
    assert all(length == pytest.approx(10, abs=0.2) for length, _ in turned) and max(abs(place[0]) for _, place in turned) > 4
    sizes = [distance(Shake(0, 0, 0.2), seed)[0] for seed in range(8)]
    assert 10 / 1.25 < min(sizes) < 9 and 11 < max(sizes) < 12.1
    shifts = np.array([distance(Shake(0.1, 0, 0), seed)[1] for seed in range(8)]) - [0, 10]
    assert (np.abs(shifts) < [3.4, 6.6]).all() and (np.abs(shifts).max(axis=0) > [1, 2]).all()


@pytest.mark.parametrize(
    ("texts", "more", "message"),
    [
        ([], {}, "guides nowhere"),
        (["a", " "], {}, "guides nowhere"),
        ({"a": 0.0}, {}, "no weights"),
        ({"a": float("nan")}, {}, "no weights"),
        (["a"], {"distance": "far"}, "no distance 'far'"),
    ],
)
def test_what_the_user_can_mend(taught, texts, more, message):
    with pytest.raises(UserError, match=message):
        Guidance(taught, texts, **more)


def test_wrong_cutouts_and_images(taught):
    with pytest.raises(UserError, match="no such cutouts"):
        Cutouts(0)
    with pytest.raises(ValueError, match="float"):
        Guidance(taught, ["red"])(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
