"""Losses, cached gradients, batch statistics and the lean optimiser, against plain formulas."""

import contextlib
import copy
import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from learning.ranks import Ranks
from tests.trainer.test_model import SMALL_RESNET, SMALL_VIT, texts
from trainer import loss as losses
from trainer.gradients import DeviceChunk, contrastive_gradients, contrastive_loss, predictive_gradients
from trainer.model import build, halve_text
from trainer.optim import LeanAdamW, adamw, parameter_groups, round_stochastically, warm_up_cosine
from trainer.predictive import build_for

ALONE = Ranks(0, 1, torch.device("cpu"))
OFF = torch.amp.GradScaler("cpu", enabled=False)


def batch(sizes, number=12, seed=0):
    images = torch.randn(number, 3, sizes.image_size, sizes.image_size, generator=torch.Generator().manual_seed(seed))
    return DeviceChunk(images, texts(sizes, number, seed), torch.ones(number, dtype=torch.bool))


def cut(whole, sizes):
    return [DeviceChunk(*parts) for parts in zip(whole.images.split(sizes), whole.tokens.split(sizes), whole.valid.split(sizes))]


def loss_of(model, objective="clip"):
    return lambda images, words, valid: contrastive_loss(objective, model, images, words, valid, ALONE)


def gradients(model, chunks, objective="clip"):
    loss = contrastive_gradients(model, chunks, loss_of(model, objective), contextlib.nullcontext, OFF)
    return loss, {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def units(rows, width=8, seed=0):
    return F.normalize(torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_clip_loss_is_the_papers_pseudocode():
    images, words, scale = units(6), units(6, seed=1), torch.tensor(9.0)
    logits = scale * images @ words.t()
    expected = (F.cross_entropy(logits, torch.arange(6)) + F.cross_entropy(logits.t(), torch.arange(6))) / 2
    ones = torch.ones(6, dtype=torch.bool)
    torch.testing.assert_close(losses.contrastive(images, words, images, words, scale, 0, ones), expected)
    weighted = 0.75 * F.cross_entropy(logits, torch.arange(6)) + 0.25 * F.cross_entropy(logits.t(), torch.arange(6))
    torch.testing.assert_close(losses.contrastive(images, words, images, words, scale, 0, ones, 0.75), weighted)


def test_sigmoid_loss_is_the_papers_pseudocode():
    images, words, scale, bias = units(6), units(6, seed=1), torch.tensor(9.0), torch.tensor(-3.0)
    logits = scale * images @ words.t() + bias
    expected = -F.logsigmoid((2 * torch.eye(6) - 1) * logits).sum() / 6
    torch.testing.assert_close(losses.sigmoid(images, words, scale, bias, 0, torch.ones(6, dtype=torch.bool)), expected)


@pytest.mark.parametrize("objective", ["clip", "siglip"])
def test_shares_of_ranks_add_up_and_invalid_rows_do_not_count(objective):
    images, words, scale, bias = units(8), units(8, seed=1), torch.tensor(9.0), torch.tensor(-3.0)
    valid = torch.tensor([1, 1, 0, 1, 1, 1, 1, 0], dtype=torch.bool)

    def share(first, rows, images, words, valid):
        own = slice(first, first + rows)
        if objective == "siglip":
            return losses.sigmoid(images[own], words, scale, bias, first, valid)
        return losses.contrastive(images[own], words[own], images, words, scale, first, valid)

    expected = share(0, 6, images[valid], words[valid], torch.ones(6, dtype=torch.bool))
    torch.testing.assert_close(share(0, 4, images, words, valid) + share(4, 4, images, words, valid), expected)


@pytest.mark.parametrize("objective", ["clip", "convirt", "siglip"])
def test_chunked_gradients_equal_the_undivided_batch(objective):
    sizes = dataclasses.replace(SMALL_VIT, logit_bias=objective == "siglip", projection="nonlinear" if objective == "convirt" else "linear")
    whole = batch(sizes)
    whole.valid[7] = False
    plain, expected = gradients(build(sizes), [whole], objective)
    chunked, found = gradients(build(sizes), cut(whole, [5, 5, 2]), objective)
    torch.testing.assert_close(chunked, plain)
    assert "logit_scale" in expected and expected.keys() == found.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_logits_in_blocks_of_rows_change_nothing(monkeypatch):
    whole = batch(SMALL_VIT)
    plain, expected = gradients(build(SMALL_VIT), [whole])
    monkeypatch.setattr("trainer.gradients._LARGEST_LOGITS", 12 * 5)
    blocks, found = gradients(build(SMALL_VIT), [whole])
    torch.testing.assert_close(blocks, plain)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)


def test_batch_statistics_move_once_a_batch():
    whole = batch(SMALL_RESNET)
    model, chunked = build(SMALL_RESNET).train(), build(SMALL_RESNET).train()
    gradients(model, [whole])
    gradients(chunked, cut(whole, [4, 4, 4]))
    plain, found = model.visual.bn1, chunked.visual.bn1
    assert found.num_batches_tracked == plain.num_batches_tracked == 1 and found.momentum == 0.1
    torch.testing.assert_close(found.running_mean, plain.running_mean)
    torch.testing.assert_close(found.running_var, plain.running_var, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("objective", ["captioning", "bow-prediction"])
def test_predictive_losses_add_up_over_chunks_and_learn(objective):
    whole = batch(SMALL_VIT)
    found = []
    for chunks in ([whole], cut(whole, [5, 5, 2])):
        model = build_for(objective, SMALL_VIT, seed=0)
        loss = predictive_gradients(model, chunks, ALONE, contextlib.nullcontext, OFF)
        found.append([loss, *(parameter.grad for parameter in model.parameters() if parameter.grad is not None)])
    for plain, chunked in zip(*found, strict=True):
        torch.testing.assert_close(chunked, plain, rtol=1e-4, atol=1e-6)
    assert found[0][0].item() == pytest.approx(math.log(SMALL_VIT.vocabulary), rel=0.15)  # nothing is known yet
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(40):
        optimiser.zero_grad()
        loss = predictive_gradients(model, [whole], ALONE, contextlib.nullcontext, OFF)
        optimiser.step()
    assert loss < 0.7 * found[0][0]
    scores = model.eval().class_scores(whole.images, whole.tokens)  # [image, text]
    assert (scores.argmax(dim=1) == torch.arange(12)).float().mean() > 0.3


def test_caption_scores_by_hand():
    logits = torch.randn(1, 4, 10, generator=torch.Generator().manual_seed(0))
    tokens = torch.tensor([[8, 3, 9, 0, 0]])
    log_p = logits.log_softmax(-1)[0]
    torch.testing.assert_close(losses.caption_log_probability(logits, tokens)[0], (log_p[0, 3] + log_p[1, 9]) / 2)
    words = torch.tensor([[8, 3, 5, 9, 0]])
    row = logits[:, 0]
    torch.testing.assert_close(losses.words_log_probability(row, words)[0], (row.log_softmax(-1)[0, [3, 5]]).mean())


def test_stochastic_rounding_is_right_on_average():
    generator = torch.Generator().manual_seed(0)
    values = torch.tensor([1.0009765625, -3.14159, 1e-30, 65504.3, 0.0, float("inf"), float("nan")])
    draws = round_stochastically(values.expand(40_000, -1), generator).double()  # [draws, values]
    step = 2.0**-7 * 2.0 ** values[:5].abs().clamp(min=1e-38).log2().floor()  # distance of neighbours in bfloat16
    error = (draws[:, :5].mean(0) - values[:5].double()).abs()
    assert (error <= 4 * 0.5 * step / 40_000**0.5).all(), error
    assert (draws[0, :5].float().bfloat16() == draws[0, :5]).all()
    assert draws[:, 5].isinf().all() and draws[:, 6].isnan().all()


def test_lean_adamw_equals_torchs_where_nothing_is_halved():
    model, other = build(SMALL_VIT), build(SMALL_VIT)
    settings = dict(learning_rate=1e-2, betas=(0.9, 0.98), epsilon=1e-6)
    ours = LeanAdamW(parameter_groups(model, 0.2), **settings, half_statistics=False, seed=0)
    theirs = adamw(parameter_groups(other, 0.2), **settings)
    for step in range(3):
        generator = torch.Generator().manual_seed(step)
        for mine, its in zip(model.parameters(), other.parameters()):
            mine.grad = torch.randn(mine.shape, generator=generator)
            its.grad = mine.grad.clone()
        ours.step()
        theirs.step()
    for mine, its in zip(model.parameters(), other.parameters()):
        torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-6)


def test_half_statistics_follow_the_full_ones_and_resume_exactly():
    weight = torch.nn.Parameter(torch.zeros(4096))
    settings = dict(learning_rate=1e-3, betas=(0.9, 0.999), epsilon=1e-8, half_statistics=True, seed=1)
    optimiser = LeanAdamW([{"params": [weight]}], **settings)
    for step in range(300):
        weight.grad = torch.full_like(weight, 1.0)
        if step == 200:
            saved, at = copy.deepcopy(optimiser.state_dict()), weight.detach().clone()
        optimiser.step()
    second = optimiser.state[weight]["exp_avg_sq"]
    assert second.dtype == torch.bfloat16
    assert second.float().mean().item() == pytest.approx(1 - 0.999**300, rel=0.01)  # plain rounding sticks below
    again = torch.nn.Parameter(at)
    resumed = LeanAdamW([{"params": [again]}], **settings)
    resumed.load_state_dict(saved)
    for _ in range(200, 300):
        again.grad = torch.full_like(again, 1.0)
        resumed.step()
    assert torch.equal(again, weight)


def test_half_text_trains():
    model = build(SMALL_VIT)
    halve_text(model)
    assert model.token_embedding.weight.dtype == torch.bfloat16 and model.visual.proj.dtype == torch.float32
    optimiser = LeanAdamW(parameter_groups(model, 0.0), learning_rate=3e-3, betas=(0.9, 0.98), epsilon=1e-6, half_statistics=True, seed=0)
    whole, found = batch(SMALL_VIT), []
    for _ in range(25):
        optimiser.zero_grad()
        loss = contrastive_gradients(model, [whole], loss_of(model), lambda: torch.autocast("cpu", torch.bfloat16), OFF)
        optimiser.step()
        found.append(loss.item())
    assert found[-1] < 0.6 * found[0]
    assert model.token_embedding.weight.dtype == torch.bfloat16


def test_schedule_and_groups():
    rates = [warm_up_cosine(step, 100, 10, 1.0) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == pytest.approx(1.0) and max(rates) == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.5) and rates[99] < 0.001
    decayed, others = parameter_groups(build(SMALL_RESNET), 0.2)
    assert all(parameter.ndim >= 2 for parameter in decayed["params"]) and others["weight_decay"] == 0
    assert any(parameter.ndim == 0 for parameter in others["params"])
