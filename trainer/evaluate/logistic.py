"""The paper's linear probe (appendix A.3): logistic regression by L-BFGS with an L2 sweep, on a CPU or a GPU.

The optimiser is SciPy's L-BFGS-B, the one scikit-learn uses; loss and gradient are computed where the features are, in
chunks, so that a million examples need no n × c matrix.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.sparse import csr_array
from threadpoolctl import ThreadpoolController
from torch import Tensor

from trainer.evaluate.rows import Rows
from trainer.evaluate.scoring import SCORES, Linear

STEPS = 97  # 8 a decade over 1e-6…1e6: 96 steps
MAX_ITERATIONS = 1000
SMALL = 4_000_000  # multiplications in one product
_START = 16  # the search begins with one point in two decades


def regularisation(step: int) -> float:
    """L2 strength λ at a step 0…96 of the sweep: 1e-6…1e6."""
    return float(10.0 ** (step / 8 - 6))


@dataclass(frozen=True)
class Probe:
    """A fitted linear classifier.

    Attributes:
      weight: float32 [c, d].
      bias: float32 [c].
      iterations: of L-BFGS.
    """

    weight: np.ndarray
    bias: np.ndarray
    iterations: int

    @property
    def linear(self) -> Linear:
        """Features [n, d] to logits [n, c]."""
        return Linear(self.weight, self.bias)


def block(rows: Tensor | Rows | csr_array, start: int, stop: int, device: torch.device) -> Tensor:
    """A slice of rows, on the device."""
    found = rows[start:stop]
    if isinstance(found, csr_array):
        found = found.toarray()
    return torch.as_tensor(found, device=device)


def fit(
    features: Tensor | Rows,
    targets: Tensor | csr_array,
    classes: int,
    strength: float,
    *,
    device: torch.device | str = "cpu",
    max_iterations: int = MAX_ITERATIONS,
    tolerance: float = 1e-4,
    chunk: int = 16_384,
) -> Probe:
    """Minimise Σ loss + strength/2 · |W|², the bias left free: scikit-learn's LogisticRegression(C=1/strength).

    Args:
      features: float32 [n, d]; what is no tensor is read a chunk at a time, in every iteration.
      targets: class numbers int64 [n] for a softmax over the classes, or bool [n, c] for one independent yes-or-no each.
      classes: c.
      strength: λ, at least 0.
      device: that computes, where the features are no tensor on one.
      max_iterations: of L-BFGS.
      tolerance: it stops where no element of the gradient of the mean loss exceeds this.
      chunk: examples whose logits are held at a time, fewer where there are very many classes.
    """
    n, d = features.shape
    chunk = max(1, min(chunk, SCORES // classes))
    device = features.device if isinstance(features, Tensor) else torch.device(device)
    if n < d:
        # The best weights lie in the span of the examples, so few of them are fitted in coordinates of that span.
        basis, coordinates = torch.linalg.qr(block(features, 0, n, device).T)  # [d, n] orthonormal, [n, n]
        small = fit(
            coordinates.T.contiguous(), targets, classes, strength, max_iterations=max_iterations, tolerance=tolerance, chunk=chunk
        )
        return Probe(small.weight @ basis.T.cpu().numpy(), small.bias, small.iterations)

    def loss_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = torch.from_numpy(flat).to(device, torch.float32).view(classes, d + 1)
        weight, bias = parameters[:, :d], parameters[:, d]
        gradient = torch.zeros_like(parameters)
        loss = torch.zeros((), dtype=torch.float64, device=device)
        for start in range(0, n, chunk):
            x = block(features, start, start + chunk, device)  # [b, d]
            y = block(targets, start, start + chunk, device)  # [b] or [b, c]
            logits = torch.addmm(bias, x, weight.T)  # [b, c]
            if y.ndim == 1:
                log_probabilities = logits.log_softmax(dim=1)
                loss -= log_probabilities.gather(1, y[:, None]).sum(dtype=torch.float64)
                error = log_probabilities.exp_()
                error[torch.arange(len(y), device=device), y] -= 1
            else:
                wanted = y.to(logits.dtype)
                loss += torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(dtype=torch.float64)
                error = logits.sigmoid_() - wanted
            gradient[:, :d].addmm_(error.T, x)
            gradient[:, d] += error.sum(dim=0)
        gradient[:, :d].add_(weight, alpha=strength)
        loss += 0.5 * strength * weight.double().square().sum()
        return loss.item() / n, gradient.double().cpu().numpy().ravel() / n

    with _threads_for(min(n, chunk) * d * classes), _blas().limit(limits=1):
        found = minimize(
            loss_and_gradient,
            np.zeros(classes * (d + 1)),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": max_iterations, "maxls": 50, "gtol": tolerance, "ftol": 64 * np.finfo(float).eps},
        )
    parameters = found.x.reshape(classes, d + 1).astype(np.float32)
    return Probe(np.ascontiguousarray(parameters[:, :d]), parameters[:, d].copy(), int(found.nit))


@cache
def _blas() -> ThreadpoolController:
    """SciPy's linear algebra, which L-BFGS-B calls on a few short vectors: a second thread costs many times what it does."""
    found = ThreadpoolController().select(user_api="blas")
    paths = [library.filepath for library in found.lib_controllers]
    return found.select(filepath=[path for path in paths if f"{os.sep}torch{os.sep}" not in path])


@contextmanager
def _threads_for(products: int) -> Iterator[None]:
    """One thread for matrix products this small: waking others takes longer than the work, most of all on busy cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if products < SMALL else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def search(score: Callable[[int], float], *, every: bool = False) -> tuple[int, dict[int, float]]:
    """The best step of the sweep, by the paper's search: coarse points, then half the distance around the peak, down to 1.

    Args:
      score: validation score at a step 0…96; larger is better.
      every: try all 97 instead.

    Returns:
      The best step (of equal ones, the strongest regularisation) and the score at every step tried.
    """
    distance = 1 if every else _START
    scores = {step: score(step) for step in range(0, STEPS, distance)}
    while True:
        best = max(scores, key=lambda step: (scores[step], step))
        if distance == 1:
            return best, scores
        distance //= 2
        for step in (best - distance, best + distance):
            if 0 <= step < STEPS and step not in scores:
                scores[step] = score(step)
