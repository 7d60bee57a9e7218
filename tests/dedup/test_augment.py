import io

import numpy as np
import pytest
import torch
from PIL import Image

from dedup import resample
from dedup.augment import RECIPES, Augmenter
from dedup.loss import entropy_loss, info_nce
from dedup.model import Detector, DetectorConfig

SMALL = DetectorConfig(resolution=32, stem=8, widths=(8, 16), blocks=(1, 1), dimension=16)


def picture(side: int = 64, seed: int = 0) -> Image.Image:
    """Smooth shapes and one edge."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
    image.paste((250, 30, 30), (10, 12, 30, 40))
    return image


def tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize(("name", "filter"), [("box", Image.Resampling.BOX), ("linear", Image.Resampling.BILINEAR),
                                              ("cubic", Image.Resampling.BICUBIC), ("lanczos", Image.Resampling.LANCZOS)])  # fmt: skip
@pytest.mark.parametrize("side", [24, 32])
def test_resampling_by_matrices_is_pillows(name, filter, side):
    image = picture()
    zero, one = torch.zeros(1), torch.ones(1)
    kernel = torch.tensor([resample.KERNELS.index(name)])
    matrix = resample.axis_matrix((zero, one), (zero, one), kernel, side, 64)
    ours = resample.apply(matrix, tensor(image), matrix).clamp(0, 1)
    theirs = tensor(image.resize((side, side), filter))
    inner = (slice(None), slice(None), slice(4, -4), slice(4, -4))  # edges are treated otherwise
    assert (ours - theirs)[inner].abs().mean() < 0.012


def test_a_first_edge_above_the_last_mirrors():
    zero, one, kernel = torch.zeros(1), torch.ones(1), torch.tensor([1])
    plain = resample.axis_matrix((zero, one), (zero, one), kernel, 16, 16)
    assert torch.allclose(resample.axis_matrix((one, zero), (zero, one), kernel, 16, 16), plain.flip(1), atol=1e-5)


@pytest.mark.parametrize("quality", [10, 50, 90])
def test_jpeg_is_pillows_up_to_rounding(quality):
    image = picture()
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=0)
    ours = resample.jpeg(tensor(image), torch.tensor([float(quality)]))
    assert (ours - tensor(Image.open(buffer))).abs().mean() < 0.01


@pytest.mark.parametrize("name", RECIPES)
def test_views_are_repeatable_differ_and_stay_pictures(name):
    images = torch.stack([(tensor(picture(40, seed))[0] * 255).byte() for seed in range(6)])
    augmenter = Augmenter(RECIPES[name], 32)
    first, second = augmenter(images, torch.Generator().manual_seed(3))
    again = augmenter(images, torch.Generator().manual_seed(3))
    assert torch.equal(first, again[0]) and torch.equal(second, again[1])
    assert first.shape == second.shape == (6, 3, 32, 32)
    assert first.isfinite().all() and first.min() >= 0 and first.max() <= 1
    assert (first - second).abs().mean() > 0.01


def test_info_nce_by_hand():
    first, second = torch.eye(3)[:2], torch.tensor([[0.6, 0.8, 0.0], [0.0, 1.0, 0.0]])
    views = torch.cat([first, second])
    loss = 0.0
    for row, partner in enumerate([2, 3, 0, 1]):
        others = [column for column in range(4) if column != row]
        logits = (views @ views[row] / 0.07)[others]
        loss -= torch.log_softmax(logits, 0)[others.index(partner)] / 4
    found, accuracy = info_nce(first, second, 0.07)
    assert found == pytest.approx(float(loss), rel=1e-5) and accuracy == 0.75
    assert entropy_loss(first, first) == pytest.approx(-np.log(2**0.5), rel=1e-3)


def test_calibration_gives_every_channel_unit_variance_and_an_image_does_not_see_its_batch():
    torch.manual_seed(0)
    model = Detector(SMALL)
    images = torch.cat([tensor(picture(32, seed)) for seed in range(8)])
    model.calibrate(images)
    deviation, mean = torch.std_mean(model.stem[0]((images - 0.5) * 4), dim=(0, 2, 3))
    assert torch.allclose(deviation, torch.ones(8), atol=1e-3) and torch.allclose(mean, torch.zeros(8), atol=1e-3)
    vectors = model(images)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(8), atol=1e-5)
    assert torch.allclose(model(images[:1]), vectors[:1], atol=1e-5)  # batch normalisation would leak the others
    norms = model.stem[1].weight().flatten(1).norm(dim=1)
    assert torch.allclose(norms, model.stem[1].gain.abs(), rtol=1e-5)
