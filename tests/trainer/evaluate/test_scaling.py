import json

import numpy as np
import pytest
from scipy import stats

from learning import checkpoint
from trainer.cost import forward_flops
from trainer.evaluate import zero_shot
from trainer.evaluate.encoder import load_encoder
from trainer.evaluate.report_flags import included, included_sections
from trainer.evaluate.scaling import fit_sets, main, read_compute
from trainer.load import MODEL_PREFIX, describe
from trainer.model import build
from trainer.tokenizer import Tokenizer
from wit_builder.errors import UserError


@pytest.fixture
def trained(squares, tmp_path):
    """Two checkpoints that say how long they were trained."""
    paths = []
    for seed, step in ((0, 10), (6, 80)):
        model = build(squares.vit, seed)
        tensors = {MODEL_PREFIX + name: tensor for name, tensor in model.state_dict().items()}
        about = describe(model, Tokenizer([])) | {"step": step, "config": {"batch_size": 16}}
        paths.append(str(tmp_path / f"{step}.safetensors"))
        checkpoint.save(paths[-1], tensors, about)
    return paths


def test_points_are_zero_shot_s_and_the_line_is_scipy_s(trained, colours, run, squares):
    output, printed = run(main, "--checkpoints", *trained, "--eval", f"colours={colours}")
    found = json.loads((output / "metrics.json").read_text())
    flops = 3 * forward_flops(build(squares.vit)) * 16
    assert [point["compute"] for point in found["points"]] == [flops * 10, flops * 80]
    for path, point in zip(trained, found["points"]):
        plain, _ = run(zero_shot.main, "--checkpoint", path, "--eval", f"colours={colours}", output=f"plain-{point['checkpoint']}")
        assert point["sets"]["colours"]["top1"] == json.loads((plain / "metrics.json").read_text())["sets"]["colours"]["top1"]
    page = (output / "report.html").read_text()
    assert "10.safetensors" in page and page.count("data:image/png;base64,") == 1 and "error ∝ compute" in printed
    joined = included([str(output)], load_encoder(trained[1]).digest)
    assert [section.heading for section in included_sections(joined, [str(output)])] == ["Error against compute"]
    with pytest.raises(UserError, match="another checkpoint's"):
        included([str(output)], "0" * 64)


def test_lines_against_scipy():
    compute = np.array([1e15, 1e16, 1e17, 1e18])
    errors = {"a": np.array([0.8, 0.6, 0.5, 0.3]), "b": np.array([0.4, 0.3, 0.1, 0.0])}
    fits = fit_sets(compute, errors)
    expected = stats.linregress(np.log(compute), np.log(errors["a"]))
    assert fits["sets"]["a"]["slope"] == pytest.approx(expected.slope)
    assert fits["sets"]["a"]["r_squared"] == pytest.approx(expected.rvalue**2)
    assert fits["mean"]["slope"] == pytest.approx(stats.linregress(np.log(compute), np.log([0.6, 0.45, 0.3, 0.15])).slope)


def test_compute_from_a_table(tmp_path):
    (tmp_path / "c.csv").write_text("checkpoint,compute\na.pt,10\nb.pt,1e3\n")
    assert read_compute(str(tmp_path / "c.csv"), ["b.pt", "a.pt"]) == {"b.pt": 1000.0, "a.pt": 10.0}
    (tmp_path / "inf.csv").write_text("checkpoint,compute\na.pt,1e400\n")
    with pytest.raises(UserError, match="no compute above zero for a.pt"):
        read_compute(str(tmp_path / "inf.csv"), ["a.pt"])
    with pytest.raises(UserError, match="no compute above zero for c.pt"):
        read_compute(str(tmp_path / "c.csv"), ["c.pt"])
    (tmp_path / "c.csv").write_text("name,compute\na.pt,10\n")
    with pytest.raises(UserError, match="not a table of compute"):
        read_compute(str(tmp_path / "c.csv"), ["a.pt"])


def test_what_the_user_can_mend_is_one_clear_error(vit, resnet, trained, colours, run):
    with pytest.raises(UserError, match="at least two checkpoints"):
        run(main, "--checkpoints", vit, "--eval", f"colours={colours}")
    with pytest.raises(UserError, match="vit.safetensors: this checkpoint does not say how long"):
        run(main, "--checkpoints", vit, resnet, "--eval", f"colours={colours}")
