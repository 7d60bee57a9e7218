"""`trainer train`: the loop, top to bottom."""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import Any

import torch

from learning import ranks as processes
from learning.checkpoint import load as load_checkpoint
from learning.checkpoint import save
from learning.checkpoints import Checkpoints
from learning.interrupt import Interrupt
from learning.precision import cpu_multiplies_bfloat16
from learning.state import flatten, random_state, set_random_state, unflatten
from trainer import log as logs
from trainer.config import TrainConfig
from trainer.cost import describe_cost, device_flops, step_flops
from trainer.data import Chunks, Plan, batches, texts
from trainer.gradients import contrastive_gradients, contrastive_loss, predictive_gradients, to_device
from trainer.index import Index, build_index
from trainer.load import MODEL_PREFIX, describe
from trainer.model import MAX_LOGIT_SCALE, halve_text, recompute_activations
from trainer.optim import LeanAdamW, adamw, gradient_norm, parameter_groups, warm_up_cosine
from trainer.predictive import PREDICTIVE, build_for
from trainer.sizes import model_config
from trainer.tokenizer import Tokenizer, load_tokenizer, train_tokenizer
from trainer.weights import initialise_from
from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.parallel import available_cores
from wit_builder.report import counted

MODEL_FILE = "model.safetensors"  # the weights at the end, without the optimiser's state
CONFIG_FILE = "config.json"
INDEX = "index"  # .npy and .json: where every sample stands, so that a restart need not look again
TOKENIZER_TEXTS = 1_000_000  # texts that a tokenizer is learned from


def train(config: TrainConfig, *, resume: str = "", dry_run: bool = False) -> None:
    """Train as the configuration says.

    Args:
      config: see `TrainConfig`.
      resume: `auto`, to go on from the newest checkpoint in the output folder if there is one.
      dry_run: print what it would cost, and stop.

    Raises:
      UserError: where an input or the output folder is not as it must be, or training diverges.
    """
    ranks = processes.start(config.device)
    try:
        _train(config, ranks, resume, dry_run)
    finally:
        processes.stop()


def _train(config: TrainConfig, ranks: processes.Ranks, resume: str, dry_run: bool) -> None:
    say = logs.say if ranks.first else lambda message: None
    device = ranks.device

    # Data: which samples there are. The first process looks, and tells the others.
    if not config.shards or not (config.output or dry_run):
        raise UserError("trainer train needs --shards and --output", fix="see trainer train --help")
    model_config(config.model)  # a wrong name is told before the folder is claimed
    if config.batch_size % ranks.count:
        raise UserError(f"a batch of {config.batch_size} does not divide among {ranks.count} processes", fix="change --batch-size")
    workers = config.workers if config.workers >= 0 else max(1, min(8, available_cores() // _local_processes()))
    checkpoints = Checkpoints(
        files.join(config.output, "checkpoints"),
        every_steps=config.checkpoint_steps,
        every_minutes=config.checkpoint_minutes,
        keep=config.keep,
    )
    index: Index | None = None
    tokenizer: Tokenizer | None = None
    if ranks.first:
        if not dry_run:
            _claim(config, checkpoints, resume)
        keep = "" if dry_run else files.join(config.output, INDEX)
        index = build_index(config.shards, config.exclude, max(workers, 1), keep)
        tokenizer = _tokenizer(config, index)
    index, tokenizer = ranks.share(index), ranks.share(tokenizer)
    if config.batch_size > len(index):
        raise UserError(f"a batch of {config.batch_size} is more than the {len(index)} samples", fix="give a smaller --batch-size")
    share = config.batch_size // ranks.count
    plan = Plan(config.batch_size, min(config.chunk_size or share, share), round(config.epochs * len(index)), ranks.rank, ranks.count)
    for reason, number in index.drops.items():
        say(f"left out: {number:,} {reason}")
    say(f"{len(index):,} samples in {counted(len(index.tars), 'shard')}; {plan.steps:,} steps of {config.batch_size:,} pairs")

    # Model.
    sizes = config.model_sizes(tokenizer.vocabulary)
    model = build_for(config.objective, sizes, config.seed)
    predictive = config.objective in PREDICTIVE
    if config.init_from:
        say(initialise_from(model, config.init_from))
    model = model.train().to(device)
    if not sizes.is_vit:
        model = model.to(memory_format=torch.channels_last)
    recompute_activations(model, config.recompute)
    precision = _precision(config.precision, device)
    if config.half_text:
        if precision == torch.float32 or predictive:
            raise UserError("--half-text needs half-precision activations and a text encoder", fix="add --precision bf16")
        halve_text(model)
    if dry_run:
        print(describe_cost(config, model, plan, precision))
        return
    if config.compile:
        model.compile(dynamic=False)

    # Evaluations on the way: the first process does them, while the others wait for its next gradients.
    midway = None
    if config.eval and ranks.first:
        from trainer.midway import Midway  # brings SciPy and scikit-learn

        midway = Midway(config.eval, config.objective, tokenizer, precision)

    # Optimiser.
    beta2, epsilon = config.adam(sizes)
    groups = parameter_groups(model, config.weight_decay)
    adam = {"learning_rate": config.peak_rate(), "betas": (0.9, beta2), "epsilon": epsilon}
    if config.half_statistics or config.half_text:
        optimiser = LeanAdamW(groups, **adam, half_statistics=config.half_statistics, seed=config.seed)
    else:
        optimiser = adamw(groups, **adam)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
    warm_up = max(1, min(config.warm_up, plan.steps // 10))

    def autocast() -> contextlib.AbstractContextManager:
        return torch.autocast(device.type, precision, enabled=precision != torch.float32)

    def loss_of(images, texts, valid):
        return contrastive_loss(config.objective, model, images, texts, valid, ranks)

    # Where a run that ended early goes on; nothing is left to do where it had ended.
    first_step, last_good = 0, None
    torch.manual_seed(config.seed)
    found = checkpoints.latest() if resume == "auto" else None
    if found:
        last_good, tensors, metadata = found
        first_step = _restore(model, optimiser, scaler, tensors, metadata, device)
        say(f"resumed after step {first_step} from {last_good}")
        if metadata["ranks"] != ranks.count:
            say(f"{metadata['ranks']} processes before, {ranks.count} now: the same batches follow, but sums round in another order")
        if metadata.get("samples", len(index)) != len(index):
            say(f"{metadata['samples']:,} samples before, {len(index):,} now: they come in another order from here on, some of them again")

    def state() -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        weights = {MODEL_PREFIX + name: tensor for name, tensor in model.state_dict().items()}
        rest = {"optimiser": optimiser.state_dict(), "scaler": scaler.state_dict(), "random": random_state(device)}
        tensors, form = flatten(rest, "state")
        about = {"config": config.to_json(), "ranks": ranks.count, "samples": len(index), "step": step + 1, "state": form}
        return weights | tensors, describe(model, tokenizer, config.objective) | about

    chunks = Chunks(index, plan, tokenizer, sizes.image_size, sizes.context, config.seed, config.crop_area)
    log = logs.Log(
        config.output if ranks.first else None,
        first_step=first_step,
        steps=plan.steps,
        every=config.log_every,
        batch_size=config.batch_size,
        step_flops=step_flops(model, plan.batch_size),
        peak_flops=(config.peak_flops or device_flops(device, precision)) * ranks.count,
    )
    step = first_step - 1
    source = batches(chunks, first_step, workers, pin=device.type == "cuda")
    try:
        if midway and not first_step:
            log.evaluated(0, midway.evaluate(model))  # also tells of a set that is of no use
        with Interrupt(ranks.count == 1) as stop:
            for step in range(first_step, plan.steps):
                # A batch: this rank's share of it, in chunks.
                asked = time.perf_counter()
                batch = next(source)
                log.waited(time.perf_counter() - asked)
                for chunk in batch:
                    log.dropped(chunk.drops)
                on_device = [to_device(chunk, device, trim=not config.compile) for chunk in batch]

                # Gradients of the whole batch, summed over ranks.
                optimiser.zero_grad(set_to_none=True)
                if predictive:
                    loss = predictive_gradients(model, on_device, ranks, autocast, scaler)
                else:
                    loss = contrastive_gradients(model, on_device, loss_of, autocast, scaler)
                processes.add_up([parameter.grad for parameter in parameters if parameter.grad is not None] + [loss], ranks)

                # Update.
                rate = warm_up_cosine(step, plan.steps, warm_up, config.peak_rate())
                for group in optimiser.param_groups:
                    group["lr"] = rate
                scaler.unscale_(optimiser)
                norm = gradient_norm(parameters)
                if config.clip_norm:
                    torch.nn.utils.clip_grads_with_norm_(parameters, config.clip_norm, norm)
                scaler.step(optimiser)
                scaler.update()
                if not predictive:
                    with torch.no_grad():
                        model.logit_scale.clamp_(max=MAX_LOGIT_SCALE)

                # Log, and keep what was learned.
                due = ranks.first and (checkpoints.due(step + 1) or stop.asked)
                if log.step(step, rate, loss, norm, None if predictive else model.logit_scale.exp()) or due or step + 1 == plan.steps:
                    log.fetch()
                if due and step + 1 < plan.steps:
                    last_good = checkpoints.save(step + 1, *state())
                    if stop.asked:
                        say(f"saved: {last_good}")
                        raise KeyboardInterrupt
                    if midway:
                        log.evaluated(step + 1, midway.evaluate(model))
        if ranks.first:
            tensors, about = state()
            checkpoints.save(plan.steps, tensors, about)
            weights = {name: tensor for name, tensor in tensors.items() if name.startswith(MODEL_PREFIX)}
            save(files.join(config.output, MODEL_FILE), weights, {name: value for name, value in about.items() if name != "state"})
            if midway and first_step < plan.steps:
                log.evaluated(plan.steps, midway.evaluate(model))
    except logs.NotFinite as error:
        raise logs.not_finite(error.step, last_good) from error
    finally:
        log.close()

    # The end.
    if ranks.first:
        logs.write_report(config.output, f"Training of {config.model} by {config.objective}")
        for reason, number in sorted(log.drops.items()):
            say(f"unreadable: {number:,} {reason}")
        say(f"trained: {files.join(config.output, MODEL_FILE)}")
    ranks.wait()


def _claim(config: TrainConfig, checkpoints: Checkpoints, resume: str) -> None:
    """Refuse a folder with another run in it; else write the configuration there."""
    path = files.join(config.output, CONFIG_FILE)
    if files.exists(path):
        before = TrainConfig.from_json(files.read_json(path), path).identity()
        differing = [name for name, value in config.identity().items() if before[name] != value]
        if differing:
            told = "; ".join(f"{name}: {before[name]!r} there, {config.identity()[name]!r} asked" for name in differing)
            raise UserError(f"this folder holds another run ({told})", where=config.output, fix="give another --output")
        if resume != "auto" and checkpoints.steps():
            raise UserError("this folder holds this run already", where=config.output, fix="--resume auto to go on, or another --output")
    elif files.is_folder(config.output) and files.match(files.join(config.output, "*")):
        raise UserError("this folder is not empty and holds no run", where=config.output, fix="give another --output, or empty it")
    files.make_folder(config.output)
    files.write_json(path, config.to_json())
    beta2, epsilon = config.adam(model_config(config.model))
    shown = config.to_json() | {"learning_rate": config.peak_rate(), "beta2": beta2, "epsilon": epsilon}
    logs.say("configuration: " + ", ".join(f"{name} {json.dumps(value)}" for name, value in shown.items()))


def _tokenizer(config: TrainConfig, index: Index) -> Tokenizer:
    path = files.join(config.output, "tokenizer.json")
    if config.tokenizer:
        return load_tokenizer(config.tokenizer)
    if config.output and files.exists(path):
        return load_tokenizer(path)
    if config.init_from.endswith(".safetensors"):
        _, metadata = load_checkpoint(config.init_from)
        if metadata.get("tokenizer"):
            return Tokenizer.from_json(metadata["tokenizer"])
    tokenizer = train_tokenizer(texts(index, TOKENIZER_TEXTS, config.seed), model_config(config.model).vocabulary)
    if config.output:
        tokenizer.save(path)
    return tokenizer


def _precision(wanted: str, device: torch.device) -> torch.dtype:
    if wanted != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[wanted]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if cpu_multiplies_bfloat16() else torch.float32


def _local_processes() -> int:
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def _restore(model, optimiser, scaler, tensors, metadata, device) -> int:
    """Put a checkpoint's state in place, and return the number of steps done."""
    model.load_state_dict({name.removeprefix(MODEL_PREFIX): t for name, t in tensors.items() if name.startswith(MODEL_PREFIX)})
    state = unflatten(tensors, metadata["state"])
    optimiser.load_state_dict(state["optimiser"])
    scaler.load_state_dict(state["scaler"])
    set_random_state(state["random"], device)
    return metadata["step"]
