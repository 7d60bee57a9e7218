"""Training the detector, top to bottom: data, model, optimiser, steps, calibration. `python -m dedup train --help`.

A step count makes a run repeatable on the same machine; a limit in minutes ends wherever the machine got to, with the
learning rate lowered in time. A run that was cut off goes on from its last saved state when the same command is given.
"""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dedup import embedding
from dedup.augment import Augmenter, recipe
from dedup.calibrate import calibrate
from dedup.images import Pool, parts_of_folder, parts_of_shards
from dedup.loss import entropy_loss, info_nce
from dedup.model import build
from learning import checkpoint
from learning.interrupt import Interrupt
from learning.precision import cpu_multiplies_bfloat16
from learning.ranks import choose_device
from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.outputs import Output
from wit_builder.progress import progress

CHECKPOINT = "detector.safetensors"
STATE = "state.safetensors"
LOG = "log.jsonl"
LOG_EVERY = 10  # steps
HELD_OUT = 192  # images kept from training, at most, and at most a tenth of them
SPARE = 1.15  # images are kept this much larger than the input, for crops and zooms to take from


@dataclass(frozen=True)
class TrainSettings:
    """Everything a training depends on. Exactly one of `shards` and `images` is given, and one of `steps` and `minutes`."""

    shards: str | None
    images: str | None
    output: str
    size: str = "small"
    recipe: str = "paper"
    steps: int | None = None
    minutes: float | None = None
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    seed: int = 0
    pool: int = 20_000
    threads: int = 2
    device: str = "cpu"
    precision: str = "auto"
    compile: bool = False
    save_minutes: float = 5.0


def train(settings: TrainSettings) -> dict[str, Any]:
    """Train, calibrate and save a detector; returns the output's manifest.

    Raises:
      UserError: where the input or the settings do not do.
    """
    # --- Data
    parts = parts_of_shards(settings.shards) if settings.shards else parts_of_folder(settings.images or "")
    rules = recipe(settings.recipe)
    model = build(settings.size)
    resolution = model.config.resolution
    parameters = {
        name: getattr(settings, name)
        for name in ("size", "recipe", "steps", "minutes", "batch_size", "learning_rate", "weight_decay", "seed", "pool")
    }
    output = Output(settings.output, "dedup train", parameters, {"parts": [part.name for part in parts]})
    device = choose_device(settings.device)
    if not output.begin({"device": settings.device, "threads": settings.threads}):
        return files.read_json(output.file("manifest.json"))
    pool = Pool(parts, int(resolution * SPARE), settings.pool, settings.seed, settings.threads)
    pool.hold_out(HELD_OUT)

    # --- Model and optimiser
    torch.manual_seed(settings.seed)
    model = build(settings.size).to(device, memory_format=torch.channels_last)
    decayed = [weight for weight in model.parameters() if weight.ndim > 1]
    others = [weight for weight in model.parameters() if weight.ndim <= 1]  # gains and biases
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=settings.learning_rate,
        betas=(0.9, 0.98),
    )
    augmenter = Augmenter(rules, resolution, device)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=_use_bfloat16(settings.precision, device))
    forward = torch.compile(model) if settings.compile else model

    # --- Where an earlier run stopped
    step, spent, position = 0, 0.0, {"epoch": 0, "first_part": 0, "offset": 0}
    if files.exists(output.file(STATE)):
        tensors, state = checkpoint.load(output.file(STATE))
        _restore(model, optimiser, tensors)
        step, spent, position = state["step"], state["seconds"], state["position"]
        _cut_log(output.file(LOG), step)
        print(f"goes on from step {step}", file=sys.stderr)

    # --- Steps
    started = last_saved = time.monotonic()
    total = settings.steps or settings.minutes * 60
    unit = "step" if settings.steps else "s"
    with progress("training", total, unit) as line, Interrupt() as stop:
        for images, next_position in pool.batches(settings.batch_size, **position):
            now = spent + time.monotonic() - started
            done = step / settings.steps if settings.steps else now / (settings.minutes * 60)
            if done >= 1:
                break
            generator = torch.Generator().manual_seed((settings.seed * 1_000_003 + step) % (1 << 64))
            with torch.no_grad():
                first, second = augmenter(images, generator)
                views = torch.cat([first, second]).contiguous(memory_format=torch.channels_last)  # [2B, 3, R, R]
            if step == 0:
                model.calibrate(views)
            for group in optimiser.param_groups:
                group["lr"] = settings.learning_rate * _schedule(done)
            with autocast:
                vectors = forward(views)  # [2B, D], float32
            contrast, accuracy = info_nce(*vectors.chunk(2), rules.temperature)
            loss = contrast + rules.entropy * entropy_loss(*vectors.chunk(2)) if rules.entropy else contrast
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            step, position = step + 1, next_position

            # --- What happened
            if step % LOG_EVERY == 0 or step == 1:
                value = float(loss.detach())
                if not math.isfinite(value):
                    raise UserError(f"the loss is not finite at step {step}", where=settings.output, fix="give a lower --learning-rate")
                line.set_postfix(loss=f"{value:.3f}", accuracy=f"{float(accuracy):.3f}")
                with open(output.file(LOG), "a") as log:
                    log.write(json.dumps({"step": step, "loss": round(value, 5), "accuracy": round(float(accuracy), 5)}) + "\n")
            line.update(1 if settings.steps else max(0.0, min(spent + time.monotonic() - started, total) - line.n))
            if stop.asked or time.monotonic() - last_saved > settings.save_minutes * 60:
                last_saved = time.monotonic()
                _save_state(output.file(STATE), model, optimiser, step, spent + last_saved - started, position)
                if stop.asked:
                    raise KeyboardInterrupt

    # --- Calibration and the end
    model.eval()
    calibration = calibrate(embedding.Embedder(model, {}, "", device), pool, augmenter, settings.seed)
    metadata = {"recipe": settings.recipe, "calibration": calibration}
    embedding.save(output.file(CHECKPOINT), model, metadata)
    files.remove(output.file(STATE))
    counts = {"images in memory": len(pool), "held out": len(pool.held_out), "steps": step}
    return output.finish(counts, dict(sorted(pool.skipped.items())), calibration=calibration)


def _schedule(done: float) -> float:
    """Share of the learning rate: up linearly over the first twentieth, then down along a cosine."""
    return done / 0.05 + 0.02 if done < 0.05 else 0.5 * (1 + math.cos(math.pi * min(1.0, (done - 0.05) / 0.95)))


def _use_bfloat16(precision: str, device: torch.device) -> bool:
    if precision != "auto":
        return precision == "bfloat16"
    return device.type == "cuda" or cpu_multiplies_bfloat16()


def _save_state(path: str, model, optimiser, step: int, seconds: float, position: dict[str, int]) -> None:
    tensors: dict[str, Tensor] = {f"model.{name}": value for name, value in model.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": value for name, value in state.items()}
    checkpoint.save(path, tensors, {"step": step, "seconds": seconds, "position": position})


def _restore(model, optimiser, tensors: dict[str, Tensor]) -> None:
    model.load_state_dict({name[6:]: value for name, value in tensors.items() if name.startswith("model.")})
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimiser."):
            _, index, key = name.split(".", 2)
            state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def _cut_log(path: str, step: int) -> None:
    """Drop what the log says of steps after the saved state: they are done again."""
    if files.exists(path):
        lines = [line for line in files.read_bytes(path).decode().splitlines() if json.loads(line)["step"] <= step]
        files.write_bytes(path, "".join(line + "\n" for line in lines).encode())
