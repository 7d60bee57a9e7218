import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.decomposition import PCA

from dedup import embedding
from dedup.cli import main
from dedup.model import build
from dedup.neighbours import EvaluationIndex, FlatIndex
from dedup.whitening import fit, from_tensors
from wit_builder.errors import UserError


def vectors(number: int, seed: int, dimension: int = 6) -> np.ndarray:
    """Unit vectors that have much in common."""
    chance = np.random.default_rng(seed)
    made = chance.normal(size=(number, dimension)) * np.linspace(0.3, 2, dimension) + 1.5
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def test_whitening_is_scikit_learns_of_unit_length():
    some, more = vectors(400, 0), vectors(20, 1)
    found = fit(some, dimension=4)(more, indexed=True)
    wanted = PCA(4, whiten=True).fit(some.astype(np.float64)).transform(more.astype(np.float64))
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(found @ found.T, wanted @ wanted.T, atol=1e-4)  # up to the directions' signs


def test_normalised_scores_are_the_cosine_less_the_mean_of_the_nearest_of_the_background():
    background, images, queries = vectors(50, 2), vectors(12, 3), vectors(30, 4)
    plain, made = fit(vectors(400, 0)), fit(vectors(400, 0), background)
    white = plain(images, indexed=True)
    cosines, known = white @ plain(queries, indexed=False).T, white @ plain(background, indexed=False).T
    wanted = np.stack([row - np.mean(sorted(near)[-4:-1]) for row, near in zip(cosines, known)])
    indexed, searched = made(images, indexed=True), made(queries, indexed=False)
    np.testing.assert_allclose(indexed @ searched.T, wanted / 2, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(np.concatenate([indexed, searched]), axis=1), 1, atol=1e-6)
    half = indexed.astype(np.float16)
    hits = EvaluationIndex(half, np.arange(12), np.zeros(12, np.int16), FlatIndex(half)).search(searched.astype(np.float16), -0.1)
    np.testing.assert_allclose(hits.similarity, wanted[hits.image, hits.query] / 2, atol=2e-3)  # half precision
    assert len(hits) == (wanted > -0.2).sum() > 10


def test_too_little_to_fit_and_tensors_that_do_not_fit():
    with pytest.raises(UserError, match="too few"):
        fit(vectors(5, 0))
    with pytest.raises(UserError, match="too small"):
        fit(vectors(50, 0), vectors(3, 1))
    good = fit(vectors(50, 0), vectors(9, 1))
    whole = [good.mean, good.matrix, good.background]
    assert from_tensors(whole, 6, "here").dimension == 8
    for wrong in (whole[:2], [whole[0][:5], *whole[1:]], [whole[0], whole[1] * np.nan, whole[2]], [*whole[:2], whole[2][:, :3]]):
        with pytest.raises(UserError, match="here: its whitening"):
            from_tensors(wrong, 6, "here")


def test_a_whitened_checkpoint_stands_in_for_the_old_one(tmp_path, capsys):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    plain = str(tmp_path / "plain.safetensors")
    embedding.save(plain, build("tiny").eval(), {"recipe": "paper"})
    chance = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number in range(120):
        pixels = np.kron(chance.integers(0, 256, (5, 5, 3)), np.ones((9, 9, 1))).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    flags = ["whiten", "--checkpoint", plain, "--images", str(tmp_path / "images"), "--output"]
    with pytest.raises(UserError, match="too few"):
        main([*flags, str(tmp_path / "none.safetensors")])
    for number in range(120, 300):
        pixels = np.kron(chance.integers(0, 256, (5, 5, 3)), np.ones((9, 9, 1))).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    white = str(tmp_path / "white.safetensors")
    assert main([*flags, white, "--normalise"]) == 0 and "views find their own image" in capsys.readouterr().out
    before, after = embedding.load(plain), embedding.load(white)
    square = [np.asarray(Image.open(tmp_path / "images" / "7.png").resize((64, 64)))]
    assert after.dimension == 130 and before.dimension == 128 and after.metadata["calibration"]["compared"] > 100
    found, searched = (after.embed(square, indexed=side).astype(np.float32)[0] for side in (True, False))
    assert found[-2] < 0 < searched[-2] and found @ searched <= 0.5 + abs(found[-2]) and (found[:-2] == searched[:-2]).all()
    assert main(["embed", "--checkpoint", white, "--images", str(tmp_path / "images"), "--output", str(tmp_path / "out.parquet")]) == 0
    with pytest.raises(UserError, match="whitened already"):
        main(["whiten", "--checkpoint", white, "--images", str(tmp_path / "images"), "--output", str(tmp_path / "again.safetensors")])
