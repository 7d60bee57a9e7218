"""Gradients of one global batch: in one go, or in chunks with cached gradients, whose result is the same.

With chunks (Gao et al., 2021), all embeddings are computed first without activations; the loss gives the gradient at each
embedding; then each chunk is computed again and its share of that gradient passed back. Activations of one chunk are held
at a time, while the loss still sees every pair. Batch normalisation normalises within a chunk, and its running statistics
move once a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from learning.images import to_tensor
from learning.ranks import Ranks, gather
from trainer import loss as losses
from trainer.data import Chunk

CONVIRT_WEIGHT = 0.75  # λ, on image to text (Zhang et al., 2020)
_LARGEST_LOGITS = 2**26  # similarities held at once; beyond, they are computed in blocks of rows


@dataclass(frozen=True)
class DeviceChunk:
    """A chunk on the device: images [c, 3, s, s] normalised, tokens int64 [c, l], valid bool [c]."""

    images: Tensor
    tokens: Tensor
    valid: Tensor


def to_device(chunk: Chunk, device: torch.device, trim: bool) -> DeviceChunk:
    """Copy without waiting. With `trim`, texts are cut to the longest: what follows their end does not matter."""
    tokens = chunk.tokens
    if trim:
        tokens = tokens[:, : int(tokens.argmax(dim=1).max()) + 1].contiguous()
    return DeviceChunk(
        images=to_tensor(chunk.images, device),
        tokens=tokens.to(device, non_blocking=True).long(),
        valid=chunk.valid.to(device, non_blocking=True),
    )


def contrastive_loss(objective: str, model: nn.Module, images: Tensor, texts: Tensor, valid: Tensor, ranks: Ranks) -> Tensor:
    """This rank's share of the loss, of its embeddings [r, e] and [r, e] and valid [r], against all ranks' rows."""
    all_images, all_texts = gather(images, ranks), gather(texts, ranks)  # [n, e]
    all_valid = gather(valid.float(), ranks) > 0  # [n]
    rows, scale = len(images), model.logit_scale.exp()
    block = max(1, min(rows, _LARGEST_LOGITS // len(all_images)))

    def of_rows(start: int, scale: Tensor) -> Tensor:
        own = slice(start, start + block)
        first = ranks.rank * rows + start
        if objective == "siglip":
            return losses.sigmoid(images[own], all_texts, scale, model.logit_bias, first, all_valid)
        weight = CONVIRT_WEIGHT if objective == "convirt" else 0.5
        return losses.contrastive(images[own], texts[own], all_images, all_texts, scale, first, all_valid, weight)

    if block == rows:
        return of_rows(0, scale)
    return sum(checkpoint(of_rows, start, scale, use_reentrant=False) for start in range(0, rows, block))


def contrastive_gradients(
    model: nn.Module,
    chunks: Sequence[DeviceChunk],
    loss_of: Callable[[Tensor, Tensor, Tensor], Tensor],
    autocast: Callable[[], AbstractContextManager],
    scaler: torch.amp.GradScaler,
) -> Tensor:
    """Leave the gradients in the parameters, and return this rank's share of the loss, detached."""
    valid = torch.cat([chunk.valid for chunk in chunks])  # [r]
    if len(chunks) == 1:
        with autocast():
            images, texts = model(chunks[0].images, chunks[0].tokens)  # [r, e] twice
        loss = loss_of(images, texts, valid)
        scaler.scale(loss).backward()
        return loss.detach()

    # First all embeddings, then the gradient at each of them.
    with torch.no_grad(), autocast(), running_statistics(model, keep=True):
        embedded = [model(chunk.images, chunk.tokens) for chunk in chunks]
    images = torch.cat([image for image, _ in embedded]).requires_grad_()  # [r, e]
    texts = torch.cat([text for _, text in embedded]).requires_grad_()  # [r, e]
    loss = loss_of(images, texts, valid)
    scaler.scale(loss).backward()  # also into the logit scale, once
    sizes = [len(chunk.images) for chunk in chunks]
    with running_statistics(model, keep=False):
        for chunk, image_gradient, text_gradient in zip(chunks, images.grad.split(sizes), texts.grad.split(sizes)):
            with autocast():
                again = model(chunk.images, chunk.tokens)
            torch.autograd.backward(again, (image_gradient, text_gradient))
    return loss.detach()


def predictive_gradients(
    model: nn.Module,
    chunks: Sequence[DeviceChunk],
    ranks: Ranks,
    autocast: Callable[[], AbstractContextManager],
    scaler: torch.amp.GradScaler,
) -> Tensor:
    """As above for an objective in which every pair stands alone: `model` returns the share of the loss of a chunk."""
    count = gather(sum(chunk.valid.float().sum() for chunk in chunks).reshape(1), ranks).sum().clamp(min=1)
    total = torch.zeros((), device=count.device)
    with running_statistics(model, keep=False):
        for chunk in chunks:
            with autocast():
                loss = model(chunk.images, chunk.tokens, chunk.valid, count)
            scaler.scale(loss).backward()
            total += loss.detach()
    return total


@contextmanager
def running_statistics(model: nn.Module, *, keep: bool) -> Iterator[None]:
    """Batch normalisation over several forward passes: its running statistics stay (`keep`), or move once by the mean of all."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [(norm.momentum, norm.running_mean.clone(), norm.running_var.clone(), norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        # Without a momentum the running statistics are the plain mean over the passes since the reset.
        norm.momentum = 0.0 if keep else None
        if not keep:
            norm.reset_running_stats()
    try:
        yield
    finally:
        with torch.no_grad():
            for norm, (momentum, mean, variance, tracked) in zip(norms, before):
                if not keep:
                    norm.running_mean.copy_(torch.lerp(mean, norm.running_mean, momentum))
                    norm.running_var.copy_(torch.lerp(variance, norm.running_var, momentum))
                    tracked = tracked + 1
                norm.num_batches_tracked.copy_(tracked)
                norm.momentum = momentum
