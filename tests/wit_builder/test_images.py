import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from wit_builder import images
from wit_builder.images import Encoded, ImageRules, encode_image, geometry


def smooth(width, height, seed=0):
    """A picture without hard detail, so that resizing and JPEG change little."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 255, (5, 7, 3), dtype=np.uint8)).resize((width, height), Image.Resampling.BICUBIC)


def saved(image, kind="PNG", **settings):
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def opened(encoded):
    assert isinstance(encoded, Encoded), encoded
    return Image.open(io.BytesIO(encoded.data))


def mean_difference(one, other):
    return np.abs(np.asarray(one.convert("RGB"), float) - np.asarray(other.convert("RGB"), float)).mean()


@pytest.mark.parametrize(
    ("mode", "only_if_bigger", "original", "stored"),
    [
        ("no", False, (300, 200), (300, 200)),
        ("border", False, (300, 200), (64, 64)),
        ("border", False, (30, 20), (64, 64)),
        ("border", True, (30, 20), (30, 20)),
        ("keep_ratio", False, (300, 200), (96, 64)),
        ("keep_ratio", False, (30, 20), (96, 64)),
        ("keep_ratio", True, (63, 200), (63, 200)),
        ("keep_ratio_largest", False, (300, 200), (64, 43)),
        ("keep_ratio_largest", True, (64, 50), (64, 50)),
        ("center_crop", False, (300, 200), (64, 64)),
        ("center_crop", False, (20, 333), (64, 64)),
        ("center_crop", True, (300, 60), (300, 60)),
        ("keep_ratio_largest", False, (4000, 2), (64, 1)),
    ],
)
def test_sizes_as_img2dataset_has_them(mode, only_if_bigger, original, stored):
    rules = ImageRules(image_size=64, resize_mode=mode, only_if_bigger=only_if_bigger)
    result = encode_image(saved(smooth(*original)), rules)
    assert opened(result).size == stored == (result.width, result.height)
    assert (result.original_width, result.original_height) == original


def test_center_crop_takes_the_middle_and_border_is_white():
    picture = Image.new("RGB", (300, 100), "red")
    picture.paste("blue", (100, 0, 200, 100))
    middle = opened(encode_image(saved(picture), ImageRules(image_size=50, resize_mode="center_crop", encode_format="png")))
    assert np.asarray(middle)[:, 2:-2].reshape(-1, 3).tolist() == [[0, 0, 255]] * (50 * 46)
    border = np.asarray(opened(encode_image(saved(picture), ImageRules(image_size=60, resize_mode="border", encode_format="png"))))
    assert (border[:20] == 255).all() and (border[40:] == 255).all() and border[30, 30].tolist() == [0, 0, 255]


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from(images.RESIZE_MODES), st.booleans(), st.integers(1, 512))
def test_geometry_never_leaves_the_image(width, height, mode, only_if_bigger, size):
    plan = geometry(width, height, ImageRules(image_size=size, resize_mode=mode, only_if_bigger=only_if_bigger))
    left, top, right, bottom = plan.crop
    assert 0 <= left < right <= plan.scaled[0] and 0 <= top < bottom <= plan.scaled[1]
    assert plan.canvas[0] >= right - left and plan.canvas[1] >= bottom - top
    assert mode == "no" or max(plan.scaled) <= max(width, height, size * max(width / height, height / width) + 1)


def test_every_kind_of_picture_comes_out_the_same():
    picture = smooth(120, 90)
    grey = picture.convert("L")
    sixteen_bits = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    half = picture.convert("RGBA")
    half.putalpha(128)
    cases = {
        "JPEG": (saved(picture, "JPEG", quality=95), picture),
        "progressive": (saved(picture, "JPEG", quality=95, progressive=True), picture),
        "CMYK": (saved(picture.convert("CMYK"), "JPEG", quality=95), picture.convert("CMYK")),
        "grey": (saved(grey), grey),
        "16 bits": (saved(sixteen_bits), grey),
        "16 bits TIFF": (saved(sixteen_bits, "TIFF"), grey),
        "float TIFF": (saved(grey.convert("F"), "TIFF"), grey),
        "palette": (saved(picture.quantize(256)), picture.quantize(256)),
        "bits": (saved(grey.convert("1")), grey.convert("1")),
        "alpha": (saved(half), Image.blend(picture, Image.new("RGB", picture.size, "white"), 0.5)),
        "grey alpha": (saved(half.convert("LA")), Image.blend(grey.convert("RGB"), Image.new("RGB", picture.size, "white"), 0.5)),
        "WebP": (saved(picture, "WEBP", quality=95), picture),
        "GIF": (saved(picture.quantize(256), "GIF", save_all=True, append_images=[smooth(120, 90, 9)]), picture.quantize(256)),
        "BMP": (saved(picture, "BMP"), picture),
        "TIFF": (saved(picture, "TIFF", compression="tiff_lzw"), picture),
    }
    if "AVIF" in Image.registered_extensions().values():
        cases["AVIF"] = (saved(picture, "AVIF", quality=95), picture)
    for name, (data, wanted) in cases.items():
        stored = opened(encode_image(data, ImageRules(resize_mode="no", quality=98)))
        assert stored.mode == "RGB" and mean_difference(stored, wanted) < 5, name


def test_transparent_palette_shows_white():
    picture = Image.new("P", (20, 20), 0)
    picture.putpalette([10, 20, 30] + [0] * 765)
    stored = opened(encode_image(saved(picture, "GIF", transparency=0), ImageRules(resize_mode="no", encode_format="png")))
    assert stored.getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_rotated_images_are_stored_upright_and_without_metadata(orientation):
    from PIL import ImageOps

    picture = smooth(120, 80)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Maker & <Co>"
    data = saved(picture, "JPEG", quality=95, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    result = encode_image(data, ImageRules(image_size=60, resize_mode="keep_ratio", save_exif=True))
    stored = opened(result)
    assert (result.original_width, result.original_height) == upright.size
    assert stored.size == ((90, 60) if orientation < 5 else (60, 90))
    assert mean_difference(stored, upright.resize(stored.size, Image.Resampling.BICUBIC)) < 3
    assert not stored.getexif() and b"Maker" not in result.data
    assert result.exif["Make"] == "Maker & <Co>" and result.exif["Orientation"] == str(orientation)
    assert encode_image(data, ImageRules()).exif is None


def test_refusals():
    jpeg = saved(smooth(320, 240), "JPEG")
    cases = {
        images.HTML: b"\n <!DOCTYPE html><p>gone",
        images.UNKNOWN_FORMAT: b"%PDF-1.7 and so on",
        images.TRUNCATED: jpeg[: len(jpeg) // 2],
        images.BROKEN: b"\x89PNG\r\n\x1a\n" + bytes(100),
        images.TOO_MANY_PIXELS: saved(Image.new("1", (12_000, 12_000))),
    }
    assert {reason: encode_image(data, ImageRules()) for reason, data in cases.items()} == {reason: reason for reason in cases}
    assert encode_image(jpeg, ImageRules(max_pixels=320 * 240 - 1)) == images.TOO_MANY_PIXELS
    assert encode_image(jpeg, ImageRules(min_size=241)) == images.TOO_SMALL
    assert encode_image(jpeg, ImageRules(max_aspect_ratio=1.3)) == images.TOO_LONG
    assert isinstance(encode_image(jpeg, ImageRules(min_size=240, max_aspect_ratio=1.34, max_pixels=320 * 240)), Encoded)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_hostile_bytes_never_raise(data):
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"]))
    whole = bytearray(saved(smooth(40, 30), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    result = encode_image(bytes(whole[:cut]), ImageRules(image_size=16, save_exif=True, max_pixels=1_000_000))
    assert isinstance(result, Encoded) or result in images.REASONS


def test_reduced_decoding_keeps_the_quality(samples):
    """At least 38 dB in the mean against a full decode and a Lanczos or bicubic resize, on photographs, at the margin used."""
    import zipfile

    with zipfile.ZipFile(samples / "images" / "clothing-192.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))[::100]
        photographs = [archive.read(name) for name in names]
    for resample in (Image.Resampling.LANCZOS, Image.Resampling.BICUBIC):
        found = []
        for data in photographs:
            full = Image.open(io.BytesIO(data)).convert("RGB")
            # As small a margin as is allowed: the half is this many times the wanted size.
            size = int(min(full.size) / 2 / images.DRAFT_MARGIN)
            result = encode_image(data, ImageRules(image_size=size, resize_mode="keep_ratio", encode_format="png"))
            wanted = full.resize((result.width, result.height), resample)
            error = (np.asarray(opened(result), float) - np.asarray(wanted, float)) ** 2
            found.append(10 * np.log10(255**2 / error.mean()))
        assert np.mean(found) >= 38, resample
