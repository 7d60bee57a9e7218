"""What a run says: a line of JSON for each step, TensorBoard, a progress line on a terminal, a plot at the end."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter

import torch
from torch import Tensor

from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.progress import progress
from wit_builder.report import Section, render

METRICS = "metrics.jsonl"
EVALUATIONS = "evaluations.jsonl"
_DATA_LIMITS = 0.1  # share of the time spent waiting for data above which data is said to be the limit


class Log:
    """Collects each step's results on the device, and fetches them together every `every` steps.

    Args:
      folder: of the run; None on ranks that do not write.
      first_step, steps: where the run begins and ends.
      every: steps between two fetches.
      batch_size: pairs a step.
      step_flops: floating-point operations of a step, over all devices.
      peak_flops: that all devices together could do in a second; 0 where unknown.
    """

    def __init__(
        self, folder: str | None, *, first_step: int, steps: int, every: int, batch_size: int, step_flops: float, peak_flops: float
    ) -> None:
        self.folder, self.every, self.batch_size = folder, every, batch_size
        self.step_flops, self.peak_flops = step_flops, peak_flops
        self.drops: Counter = Counter()
        self._pending: list[tuple[int, float, Tensor]] = []
        self._waited = 0.0
        self._since = time.perf_counter()
        self._line = self._stream = self._board = None
        if folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            _keep_steps(os.path.join(folder, METRICS), first_step)
            _keep_steps(os.path.join(folder, EVALUATIONS), first_step + 1)
            self._stream = open(os.path.join(folder, METRICS), "a", encoding="utf-8")
            self._board = SummaryWriter(os.path.join(folder, "tensorboard"), purge_step=first_step)
            self._line = progress("training", steps, "step", scale=False)
            self._line.update(first_step)

    def waited(self, seconds: float) -> None:
        """Time that went by until the data was there."""
        self._waited += seconds

    def dropped(self, drops: dict[str, int]) -> None:
        self.drops.update(drops)

    def step(self, step: int, learning_rate: float, loss: Tensor, norm: Tensor, scale: Tensor | None) -> bool:
        """Note a step's results, still on the device. True when it is time to fetch them."""
        scale = torch.ones_like(loss) if scale is None else scale
        self._pending.append((step, learning_rate, torch.stack([value.detach().float() for value in (loss, scale, norm)])))
        return len(self._pending) >= self.every

    def fetch(self) -> None:
        """Wait for the device, and write the steps noted.

        Raises:
          NotFinite: at the first step whose loss is no finite number.
        """
        if not self._pending:
            return
        results = torch.stack([values for _, _, values in self._pending]).tolist()  # [steps, 3]: the one wait for the device
        seconds = time.perf_counter() - self._since
        steps = len(results)
        waiting = self._waited / seconds
        speed = {
            "samples_per_second": steps * self.batch_size / seconds,
            "utilisation": steps * self.step_flops / seconds / self.peak_flops if self.peak_flops else None,
            "waiting_for_data": waiting,
            "limit": "data" if waiting > _DATA_LIMITS else "compute",
        }
        pending, self._pending, self._waited, self._since = self._pending, [], 0.0, time.perf_counter()
        for (step, learning_rate, _), (loss, scale, norm) in zip(pending, results):
            if loss != loss or abs(loss) == float("inf"):
                raise NotFinite(step)
            row = {"loss": loss, "learning_rate": learning_rate, "logit_scale": scale, "gradient_norm": norm, **speed}
            self._write(step, row)

    def _write(self, step: int, row: dict) -> None:
        if self._stream is None:
            return
        row = {"step": step, "samples": (step + 1) * self.batch_size, **row, "unreadable": sum(self.drops.values())}
        self._stream.write(json.dumps(row) + "\n")
        self._stream.flush()
        for name in ("loss", "learning_rate", "logit_scale", "gradient_norm", "samples_per_second", "utilisation", "waiting_for_data"):
            if row[name] is not None:
                self._board.add_scalar(name, row[name], step)
        self._line.set_postfix_str(f"loss {row['loss']:.3f}, {row['samples_per_second']:.0f} samples/s, limit: {row['limit']}")
        self._line.update()

    def evaluated(self, steps: int, found: dict[str, float]) -> None:
        """Note what the model scores on evaluation sets after so many steps. What it took is no time of training."""
        self._since = time.perf_counter()
        row = {"step": steps, "samples": steps * self.batch_size, "sets": found}
        with open(os.path.join(self.folder, EVALUATIONS), "a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        for name, value in found.items():
            self._board.add_scalar(f"evaluation/{name}", value, steps)
        if not self._line.disable:
            scores = ", ".join(f"{name} {value:.1%}" for name, value in found.items())
            self._line.write(f"after {steps:,} steps: {scores}", file=sys.stderr)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._board.close()
            self._line.close()


class NotFinite(Exception):
    """The loss of `step` is no finite number."""

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step


def _keep_steps(path: str, first_step: int) -> None:
    """Drop the lines of steps that a resumed run does again, and one that was cut off."""
    if not os.path.exists(path):
        return
    kept = []
    with open(path, encoding="utf-8") as stream:
        for line in stream:
            if line.endswith("\n") and json.loads(line)["step"] < first_step:
                kept.append(line)
    files.write_bytes(path, "".join(kept).encode())


def write_report(folder: str, title: str) -> None:
    """report.html: the curves of a run, from its metrics.jsonl and evaluations.jsonl."""
    rows = _read(os.path.join(folder, METRICS))
    if not rows:
        return
    samples = [row["samples"] for row in rows]
    note = f"{rows[-1]['step'] + 1:,} steps, {samples[-1]:,} pairs seen, {rows[-1]['unreadable']:,} unreadable."
    section = Section("Training", note=note)
    for key in ("loss", "learning_rate", "logit_scale", "gradient_norm", "samples_per_second"):
        label = key.replace("_", " ")

        def draw(figure, key=key, label=label) -> None:
            axes = figure.subplots()
            axes.plot(samples, [row[key] for row in rows], linewidth=1)
            axes.set(xlabel="pairs seen", ylabel=label)
            axes.grid(alpha=0.3)

        section.plot(draw, alt=f"{label} against pairs seen", height=2.6)
    sections = [section]
    if evaluations := _read(os.path.join(folder, EVALUATIONS)):
        sections.insert(0, _on_the_way(evaluations))
    files.write_bytes(os.path.join(folder, "report.html"), render(title, sections))


def _read(path: str) -> list[dict]:
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def _on_the_way(evaluations: list[dict]) -> Section:
    names = sorted({name for row in evaluations for name in row["sets"]})
    section = Section("Evaluations on the way", "Accuracy of sets with classes; of others, recall at 1 from text to image. Per cent.")

    def draw(figure) -> None:
        axes = figure.subplots()
        for name in names:
            rows = [row for row in evaluations if name in row["sets"]]
            axes.plot([row["samples"] for row in rows], [100 * row["sets"][name] for row in rows], marker="o", markersize=3, label=name)
        axes.set(xlabel="pairs seen", ylabel="per cent")
        axes.grid(alpha=0.3)
        axes.legend()

    section.plot(draw, alt="scores against pairs seen", height=3)
    last = evaluations[-1]
    section.table(["set", f"after {last['step']:,} steps"], [(name, f"{value:.1%}") for name, value in last["sets"].items()])
    return section


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def not_finite(step: int, last_good: str | None) -> UserError:
    """What to tell and to try when training has diverged."""
    return UserError(
        f"the loss of step {step} is not a finite number; last good checkpoint: {last_good or 'none yet'}",
        fix="try a lower --learning-rate, a longer --warm-up, --clip-norm 1, or --precision bf16 in place of fp16",
    )
