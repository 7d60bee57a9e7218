"""Whole training steps on a GPU: our models and loss beside open_clip's, in one loop.

    python -m benchmarks.trainer_device --models RN50 ViT-B/32 ViT-B/16 ViT-L/14

Batches of uint8 pictures and of tokens lie in pinned memory; both sides copy and normalise them on the device, run forward,
loss and backward in bfloat16, and update by the same fused AdamW. Each model is one process a side and round, by turns. Where
open_clip cannot be imported (`pip install open_clip_torch==3.3.0`) only ours is measured. At full context the share of the peak
is printed too: the model's FLOPs, forward once and backward twice, against the maker's dense bfloat16 figure.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.trainer import PEER_NAMES, TEXT_LENGTHS, random_tokens
from benchmarks.trainer_peer import open_clip_module
from learning.ranks import Ranks, choose_device
from trainer.cost import device_flops, step_flops
from trainer.data import Chunk
from trainer.gradients import contrastive_gradients, contrastive_loss, to_device
from trainer.model import build
from trainer.optim import adamw, gradient_norm, parameter_groups
from trainer.sizes import MODELS

ROOT = Path(__file__).resolve().parent.parent
PEERS = PEER_NAMES | {"ViT-L/14": "ViT-L-14-quickgelu"}
BATCH_SIZES = {"RN50": 512, "ViT-B/32": 1024, "ViT-B/16": 512, "ViT-L/14": 128}
WARM_UP = 5  # steps


def make_chunk(name: str, lengths: tuple[int, int], size: int, device: torch.device) -> Chunk:
    """One batch as the loader hands it over."""
    generator = torch.Generator().manual_seed(0)
    side = MODELS[name].image_size
    tokens = random_tokens(size, lengths, generator).int()
    images = torch.randint(0, 256, (size, side, side, 3), generator=generator, dtype=torch.uint8)
    chunk = Chunk(images, tokens, torch.ones(size, dtype=torch.bool), {})
    return chunk.pin_memory() if device.type == "cuda" else chunk


def our_step(name: str, chunk: Chunk, device: torch.device, compiled: bool) -> Callable[[], Tensor]:
    """A training step as `trainer.train` does it."""
    model = build(MODELS[name], seed=0).train().to(device)
    if not model.config.is_vit:
        model = model.to(memory_format=torch.channels_last)
    if compiled:
        model.compile(dynamic=False)
    alone, scaler = Ranks(0, 1, device), torch.amp.GradScaler(device.type, enabled=False)
    optimiser = adamw(parameter_groups(model, 0.2), learning_rate=1e-5, betas=(0.9, 0.98), epsilon=1e-6)
    parameters = list(model.parameters())

    def step() -> Tensor:
        on_device = to_device(chunk, device, trim=not compiled)
        optimiser.zero_grad(set_to_none=True)
        loss = contrastive_gradients(
            model,
            [on_device],
            lambda images, texts, valid: contrastive_loss("clip", model, images, texts, valid, alone),
            lambda: torch.autocast(device.type, torch.bfloat16),
            scaler,
        )
        gradient_norm(parameters)
        optimiser.step()
        return loss

    return step


def peer_step(name: str, chunk: Chunk, device: torch.device, compiled: bool) -> Callable[[], Tensor]:
    """The same step with open_clip's model and loss."""
    open_clip = open_clip_module()
    model = open_clip.create_model(PEERS[name], device=device).train()
    if compiled:
        model = torch.compile(model)
    loss_of = open_clip.ClipLoss()
    optimiser = adamw(parameter_groups(model, 0.2), learning_rate=1e-5, betas=(0.9, 0.98), epsilon=1e-6)
    parameters = list(model.parameters())

    def step() -> Tensor:
        on_device = to_device(chunk, device, trim=False)
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16):
            images, texts, scale = model(on_device.images.contiguous(), on_device.tokens)[:3]
            loss = loss_of(images, texts, scale)
        loss.backward()
        gradient_norm(parameters)
        optimiser.step()
        return loss

    return step


def measure(flags: argparse.Namespace) -> dict[str, float]:
    """Pairs a second and peak memory of one side on one model."""
    device = choose_device(flags.device)
    (name,) = flags.models
    chunk = make_chunk(name, TEXT_LENGTHS[flags.texts], flags.batch_size or BATCH_SIZES[name], device)
    step = (our_step if flags.side == "ours" else peer_step)(name, chunk, device, flags.compile)

    def run(steps: int) -> float:
        began = time.perf_counter()
        for _ in range(steps):
            loss = step()
        if not loss.isfinite():  # waits for the device
            sys.exit(f"{flags.side}, {name}: the loss is {loss.item()}")
        return time.perf_counter() - began

    run(WARM_UP)
    seconds = run(flags.steps)
    memory = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    return {"pairs": flags.steps * len(chunk.valid) / seconds, "memory": memory}


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--models", nargs="+", default=list(BATCH_SIZES), choices=list(BATCH_SIZES))
    made.add_argument("--batch-size", type=int, default=0, help="(default: " + ", ".join(f"{n} {s}" for n, s in BATCH_SIZES.items()) + ")")
    made.add_argument("--steps", type=int, default=20, help="timed in each round, after five that warm up (default: 20)")
    made.add_argument("--rounds", type=int, default=2)
    made.add_argument("--device", default="auto")
    made.add_argument("--compile", action="store_true", help="both sides with torch.compile")
    made.add_argument("--texts", nargs="+", default=list(TEXT_LENGTHS), choices=list(TEXT_LENGTHS))
    made.add_argument("--side", choices=("ours", "open_clip"), help=argparse.SUPPRESS)
    flags = made.parse_args()
    if flags.side:
        (flags.texts,) = flags.texts
        print(json.dumps(measure(flags)))
        return
    device = choose_device(flags.device)
    peak = device_flops(device, torch.bfloat16) if device.type == "cuda" else 0.0
    print(f"{torch.cuda.get_device_name(device) if device.type == 'cuda' else 'CPU'}, torch {torch.__version__}", flush=True)
    sides = ["ours", "open_clip"] if find_spec("open_clip") else ["ours"]
    for name in flags.models:
        seconds_a_pair = step_flops(build(MODELS[name], seed=0), 1) / peak if peak else 0.0
        for texts in flags.texts:
            compare(name, texts, sides, flags, seconds_a_pair if texts == "full context" else 0.0)


def compare(name: str, texts: str, sides: list[str], flags: argparse.Namespace, seconds_a_pair: float) -> None:
    """One line a side: medians over rounds by turns. `seconds_a_pair` is what a pair would take at the device's peak; 0 where unknown."""
    found: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    shared = [sys.executable, "-m", "benchmarks.trainer_device", "--models", name, "--texts", texts, "--device", flags.device]
    shared += ["--steps", str(flags.steps), "--batch-size", str(flags.batch_size), *(["--compile"] if flags.compile else [])]
    for _ in range(flags.rounds):
        for side in sides:
            done = subprocess.run([*shared, "--side", side], cwd=ROOT, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{side}, {name}: {done.stderr[-2000:]}")
            found[side].append(json.loads(done.stdout.splitlines()[-1]))
    rates = {side: statistics.median(result["pairs"] for result in results) for side, results in found.items()}
    for side, rate in rates.items():
        memory = max(result["memory"] for result in found[side]) / 1e9
        share = f", {rate * seconds_a_pair:.1%} of the peak" if seconds_a_pair else ""
        print(f"{name}, {texts}, {side}: {rate:,.1f} pairs/s{share}, {memory:.1f} GB", flush=True)
    if len(sides) == 2:
        print(f"{name}, {texts}: {rates['ours'] / rates['open_clip']:.2f} times open_clip's", flush=True)


if __name__ == "__main__":
    main()
