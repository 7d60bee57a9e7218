"""Batches out of shards: every sample exactly once per epoch, on exactly one rank, in an order fixed by the seed.

The data is one endless sequence: epoch after epoch, each in a pseudo-random order of its own. A global batch is the next
`batch_size` places of it; a rank takes its consecutive share, cut into chunks. So the number of ranks and workers changes
nothing about what a batch holds, and a position is one number.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import fsspec.asyn
import numpy as np
import torch
from fsspec.core import url_to_fs
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from learning.images import ImageError, crop_resized, decode
from trainer.index import Index, mix, permute
from trainer.tokenizer import Tokenizer
from wit_builder.errors import UserError
from wit_builder.hashing import hash64


@dataclass
class Chunk:
    """Part of a batch, on the CPU.

    Attributes:
      images: uint8 [c, s, s, 3].
      tokens: int32 [c, context].
      valid: bool [c]; False marks the places of samples that could not be read, and those after the last sample.
        They are filled with other samples of the chunk, and no loss counts them.
      drops: number of samples that could not be read, by reason.
    """

    images: Tensor
    tokens: Tensor
    valid: Tensor
    drops: dict[str, int]

    def pin_memory(self) -> Chunk:
        return Chunk(self.images.pin_memory(), self.tokens.pin_memory(), self.valid.pin_memory(), self.drops)


@dataclass(frozen=True)
class Plan:
    """Who reads what.

    Attributes:
      batch_size: samples of a global batch, over all ranks.
      chunk_size: samples that one rank holds activations of at once.
      total: samples to see before training ends.
      rank, ranks: this process, and how many there are.
    """

    batch_size: int
    chunk_size: int
    total: int
    rank: int = 0
    ranks: int = 1

    @property
    def chunks(self) -> int:
        """Chunks of a rank's share of a batch."""
        return -(-self.batch_size // self.ranks // self.chunk_size)

    @property
    def steps(self) -> int:
        """Batches; the last may hold fewer samples."""
        return -(-self.total // self.batch_size)

    def places(self, step: int, chunk: int) -> np.ndarray:
        """Places in the sequence that a chunk holds, int64 [at most chunk_size]."""
        share = self.batch_size // self.ranks
        first = step * self.batch_size + self.rank * share + chunk * self.chunk_size
        last = min(first + self.chunk_size, step * self.batch_size + (self.rank + 1) * share, self.total)
        return np.arange(first, max(first, last))


class Chunks(Dataset):
    """Chunk number n of a run, decoded; what a worker process does."""

    def __init__(
        self, index: Index, plan: Plan, tokenizer: Tokenizer, image_size: int, context: int, seed: int, crop_area: float = 1.0
    ) -> None:
        self.index, self.plan, self.tokenizer = index, plan, tokenizer
        self.image_size, self.context, self.crop_area = image_size, context, crop_area
        self.salt = hash64("order", seed)
        self._open: dict[int, int] = {}  # file descriptors of local tars

    def __getitem__(self, number: int) -> Chunk:
        places = self.plan.places(*divmod(number, self.plan.chunks))
        size, capacity = self.image_size, self.plan.chunk_size
        images = np.zeros((capacity, size, size, 3), np.uint8)
        texts: list[str] = []
        drops: Counter = Counter()
        epochs, within = np.divmod(places, len(self.index))
        chosen = np.empty(len(places), np.int64)
        for epoch in np.unique(epochs):
            at = epochs == epoch
            chosen[at] = permute(within[at], len(self.index), hash64(self.salt, int(epoch)))
        # Three numbers in 0…1 for each sample: where its crop lies, and its side over the picture's shorter one.
        crops = np.stack([mix(places, self.salt + turn) for turn in (1, 2, 3)], -1) / 2.0**64  # [c, 3]
        crops[:, 2] = np.sqrt(1 - crops[:, 2] * (1 - self.crop_area))
        enough = math.ceil(size / math.sqrt(self.crop_area))  # pixels of the shorter side that the smallest crop needs
        for (image, text), crop in zip(self.read(chosen), crops):
            try:
                text = text.decode("utf-8")
                if not text.strip():
                    raise ValueError("empty text")
                images[len(texts)] = crop_resized(decode(image, enough), size, *crop)
                texts.append(text)
            except UnicodeDecodeError:
                drops["text is not UTF-8"] += 1
            except ImageError as error:
                drops[str(error)] += 1
            except ValueError:
                drops["empty text"] += 1
        tokens = np.zeros((capacity, self.context), np.int32)
        tokens[:, 1] = self.tokenizer.end
        filled = len(texts)
        if filled:
            tokens[:filled] = self.tokenizer.encode(texts, self.context)
            # Places left over repeat the others, so that batch normalisation sees pictures there and not black.
            images[filled:] = images[np.arange(capacity - filled) % filled]
            tokens[filled:] = tokens[np.arange(capacity - filled) % filled]
        return Chunk(torch.from_numpy(images), torch.from_numpy(tokens), torch.arange(capacity) < filled, dict(drops))

    def read(self, chosen: np.ndarray, images: bool = True) -> Iterator[tuple[bytes, bytes]]:
        """Encoded image and text of samples, by their numbers in the index; empty where they cannot be read, or not wanted."""
        kinds = ("image", "text") if images else ("text",)
        rows = self.index.samples[chosen]
        tars = self.index.tars
        if tars and "://" in tars[0]:
            # One request for the whole chunk: fsspec sends the ranges at once.
            filesystem, _ = url_to_fs(tars[0])
            paths, starts, ends = [], [], []
            for row in rows:
                for kind in kinds:
                    paths.append(url_to_fs(tars[row["shard"]])[1])
                    starts.append(int(row[f"{kind}_at"]))
                    ends.append(int(row[f"{kind}_at"] + row[f"{kind}_size"]))
            got = filesystem.cat_ranges(paths, starts, ends, on_error="return")
            got = [part if isinstance(part, bytes) else b"" for part in got]
            yield from zip(got[::2], got[1::2]) if images else ((b"", text) for text in got)
            return
        for row in rows:
            try:
                descriptor = self._descriptor(int(row["shard"]))
                got = [os.pread(descriptor, int(row[f"{kind}_size"]), int(row[f"{kind}_at"])) for kind in kinds]
                yield (got[0], got[1]) if images else (b"", got[0])
            except OSError:
                yield b"", b""

    def _descriptor(self, shard: int) -> int:
        if shard not in self._open:
            if len(self._open) >= 256:
                os.close(self._open.pop(next(iter(self._open))))
            self._open[shard] = os.open(self.index.tars[shard], os.O_RDONLY)
        return self._open[shard]


def texts(index: Index, most: int, seed: int) -> Iterator[str]:
    """Texts of at most `most` samples, chosen by the seed; those that are not UTF-8 are left out."""
    count = min(most, len(index))
    reader = Chunks(index, Plan(1, 1, count), Tokenizer([]), 1, 3, seed)
    for start in range(0, count, 4096):
        chosen = permute(np.arange(start, min(start + 4096, count)), len(index), reader.salt)
        for _, text in reader.read(np.sort(chosen), images=False):
            with contextlib.suppress(UnicodeDecodeError):
                yield text.decode("utf-8")


def _start_worker(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the training process's to answer
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    fsspec.asyn.reset_lock()  # a lock held at the fork would never be released


def batches(chunks: Chunks, first_step: int, workers: int, pin: bool) -> Iterator[list[Chunk]]:
    """A rank's chunks of each batch, from step `first_step` to the last; decoded ahead by `workers` processes.

    Raises:
      UserError: where a worker process died.
    """
    per_step = chunks.plan.chunks
    loader = DataLoader(
        chunks,
        sampler=range(first_step * per_step, chunks.plan.steps * per_step),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=max(2, per_step // max(workers, 1)) if workers else None,
        pin_memory=pin,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),  # of its own: the default one is part of the checkpoint
    )
    iterator = iter(loader)
    for _ in range(first_step, chunks.plan.steps):
        try:
            yield [next(iterator) for _ in range(per_step)]
        except RuntimeError as error:
            if "DataLoader worker" in str(error):
                fix = "it may have run out of memory: try fewer --workers, then --resume auto"
                raise UserError("a data worker died", fix=fix) from error
            raise
