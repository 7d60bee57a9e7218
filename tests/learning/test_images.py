import io

import numpy as np
import pytest
import torch
from PIL import Image

from learning.images import CLIP_MEAN, CLIP_STD, ImageError, crop_resized, decode, to_tensor


def picture(width, height, format="JPEG"):
    """A smooth picture, so that resampling errors are small and misplaced crops are not."""
    x, y = np.meshgrid(np.linspace(0, 3, width), np.linspace(0, 3, height))
    pixels = np.stack([np.sin(x * 2), np.cos(y * 3), np.sin(x + y)], -1) * 100 + 128
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, format, quality=95)
    return buffer.getvalue()


@pytest.mark.parametrize("wanted, decoded", [(0, (640, 400)), (50, (80, 50)), (64, (160, 100)), (101, (320, 200)), (201, (640, 400))])
def test_jpeg_scale_is_reduced_only_as_far_as_the_size_allows(wanted, decoded):
    assert decode(picture(640, 400), wanted).size == decoded


@pytest.mark.parametrize("size", [(97, 61), (61, 97), (64, 64), (500, 100), (33, 32), (10, 20)])
@pytest.mark.parametrize("place", [(0.5, 0.5), (0.0, 1.0), (0.3, 0.8)])
@pytest.mark.parametrize("share", [1.0, 0.8])
def test_crop_equals_resizing_first(size, place, share):
    image = decode(picture(*size, "PNG"))
    whole = image.resize([int(32 / share * side / min(size)) for side in size], Image.Resampling.BICUBIC)
    left, top = round((whole.width - 32) * place[0]), round((whole.height - 32) * place[1])
    expected = np.asarray(whole)[top : top + 32, left : left + 32].astype(int)
    assert np.abs(crop_resized(image, 32, *place, share).astype(int) - expected).max() <= 2


@pytest.mark.parametrize("spoil, reason", [
    (lambda data: b"", "not an image"),
    (lambda data: b"<html>", "not an image"),
    (lambda data: data[: len(data) // 2], "broken image"),
])
def test_bad_bytes_have_a_reason(spoil, reason):
    with pytest.raises(ImageError, match=reason):
        decode(spoil(picture(64, 48)))


def test_pictures_that_claim_too_much_are_refused_before_decoding():
    data = bytearray(picture(64, 48, "BMP"))
    data[18:26] = (60_000).to_bytes(4, "little") * 2
    with pytest.raises(ImageError, match="too large"):
        decode(bytes(data))


def test_tensors_are_normalised_and_channels_last():
    batch = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), np.uint8)
    tensor = to_tensor(batch)
    assert tensor.shape == (4, 3, 6, 5)
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    expected = (batch / 255 - np.array(CLIP_MEAN)) / np.array(CLIP_STD)
    np.testing.assert_allclose(tensor.permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)
    assert to_tensor(batch, dtype=torch.bfloat16).dtype == torch.bfloat16
