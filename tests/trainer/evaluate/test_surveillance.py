import json

import numpy as np
import pytest

from trainer.evaluate.encoder import load_encoder
from trainer.evaluate.surveillance import main
from wit_builder.errors import UserError
from wit_builder.evalsets import open_set

CAPTIONS = {"right": "a {} square", "wrong": "an empty street", "close": "a {} circle"}


@pytest.fixture
def scores(vit, colours):
    """Cosine of any text with any image of the set, one at a time."""
    encoder = load_encoder(vit)
    images = {
        example.eval_key: encoder.embed_images(np.array(encoder.loaded.preprocessing(example.image))[None])[1][0]
        for example in open_set(str(colours), "s").examples()
    }
    return lambda key, text: float(images[key] @ encoder.embed_texts([text])[0]), list(images)


def test_rates_equal_a_count_by_hand(vit, colours, scores, run, tmp_path):
    score, keys = scores
    names = ["red", "green", "blue"]
    lines = [(key, text.format(names[i % 3]), kind) for i, key in enumerate(keys) for kind, text in CAPTIONS.items()]
    lines.append(("elsewhere", "x", "right"))
    (tmp_path / "captions.csv").write_text("eval_key,caption,kind\n" + "".join(",".join(line) + "\n" for line in lines))
    pairs = [(key, "square", f"a square {i}", f"no square {i}", "yes" if i % 2 else "no") for i, key in enumerate(keys)]
    (tmp_path / "pairs.csv").write_text("eval_key,feature,present,absent,there\n" + "".join(",".join(pair) + "\n" for pair in pairs))
    flags = ["--candidates", tmp_path / "captions.csv", "--pairs", tmp_path / "pairs.csv"]
    output, printed = run(main, "--checkpoint", vit, "--images", colours, *flags)
    found = json.loads((output / "metrics.json").read_text())
    best = [max((score(key, text), kind) for k, text, kind in lines if k == key)[1] for key in keys]
    easy = [max((score(key, text), kind) for k, text, kind in lines if k == key and kind != "close")[1] for key in keys]
    one = found["candidates"]
    assert one["with_close"]["hits"] == best.count("right") and one["chose_close"]["hits"] == best.count("close")
    assert one["without_close"]["hits"] == easy.count("right") and one["without_close"]["total"] == len(keys)
    right = [(score(key, present) > score(key, absent)) == (there == "yes") for key, _, present, absent, there in pairs]
    assert found["pairs"]["square"]["accuracy"]["hits"] == np.sum(right)
    assert json.loads((output / "manifest.json").read_text())["drops"]["captions of other keys"] == 1
    page = (output / "report.html").read_text()
    assert "<h2>Captions chosen for images" in page and "<h2>Present or absent" in page and "chose close" in printed


@pytest.mark.parametrize(
    ("candidates", "pairs", "message"),
    [
        (None, None, "there is nothing to choose from"),
        ("eval_key,caption,kind\nk,a,good\n", None, "line 2: not a candidate caption"),
        ("eval_key,caption,kind\nk,a,wrong\n", None, "'k' has no right caption"),
        ("eval_key,caption\nk,a\n", None, "no column kind"),
        ("eval_key,caption,kind\nk,a,right\n", None, "no eval_key is a usable picture .the set has 'test/0.tar/s0000000'"),
        (None, "eval_key,feature,present,absent,there\nk,a,b,c,perhaps\n", "line 2: not a pair of captions"),
    ],
)
def test_what_the_user_can_mend_is_one_clear_error(vit, colours, run, tmp_path, candidates, pairs, message):
    flags = []
    for name, text in (("candidates", candidates), ("pairs", pairs)):
        if text:
            (tmp_path / name).write_text(text)
            flags += [f"--{name}", tmp_path / name]
    with pytest.raises(UserError, match=message):
        run(main, "--checkpoint", vit, "--images", colours, *flags)
