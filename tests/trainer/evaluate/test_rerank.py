import numpy as np
import pyarrow.parquet as pq
import pytest

from trainer.evaluate import rerank
from trainer.evaluate.rerank import best_matches, main
from wit_builder.errors import UserError


@pytest.mark.parametrize("chunk", [3, 1000])
def test_best_matches_equal_a_full_sort(monkeypatch, chunk):
    monkeypatch.setattr(rerank, "CHUNK", chunk)
    random = np.random.default_rng(0)
    texts, images = random.normal(size=(4, 5)).astype(np.float32), random.normal(size=(20, 5)).astype(np.float32)
    images[11] = images[2]  # equal ones keep their order
    places, cosines = best_matches(texts, images, 7)
    scores = np.stack([[text @ image for image in images] for text in texts])
    expected = np.argsort(-scores.round(6), axis=1, kind="stable")[:, :7]
    assert (places == expected).all()
    np.testing.assert_allclose(cosines, np.take_along_axis(scores, expected, axis=1), rtol=1e-5)
    assert best_matches(texts, images, 99)[0].shape == (4, 20)


def test_ranking_and_page(vit, squares, run, tmp_path):
    folder = tmp_path / "pictures" / "deep"
    folder.mkdir(parents=True)
    for seed, (name, colour) in enumerate(squares.colours.items()):
        (folder / f"{name} <b>.png").write_bytes(squares.picture(colour, seed))
    (folder / "broken.jpg").write_bytes(b"no picture")
    flags = ["--images", tmp_path / "pictures", "--text", "a <script>", "--text", "red", "--top", 2]
    output, printed = run(main, "--checkpoint", vit, *flags)
    rows = pq.read_table(output / "ranking-00000-of-00001.parquet").to_pylist()
    assert [(row["text"], row["rank"]) for row in rows] == [("a <script>", 1), ("a <script>", 2), ("red", 1), ("red", 2)]
    assert rows[0]["similarity"] >= rows[1]["similarity"] and rows[0]["eval_key"] in printed
    page = (output / "report.html").read_text()
    assert page.count("<figure>") == 4 and "<script>" not in page and "3 pictures ranked; 1 could not be used" in page


def test_empty_text_is_an_error(vit, colours, run):
    with pytest.raises(UserError, match="an empty text"):
        run(main, "--checkpoint", vit, "--images", colours, "--text", " ")
