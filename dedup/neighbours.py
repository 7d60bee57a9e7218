"""Search turned round: evaluation images stand in the index, training embeddings stream past it.

Every pair at or above the threshold is found, not only the best. A product in single precision or bfloat16, or FAISS's
cells, proposes; the similarity that is kept is computed again in double precision from the stored half-precision vectors,
one pair at a time, so that hits are the same however the training set is divided into shards and batches, and on any machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import faiss
import numpy as np
import torch

from learning.precision import cpu_multiplies_bfloat16
from learning.vectors import unit_length

# How far a proposal's similarity may be from the exact one, by Cauchy-Schwarz: twice the unit roundoff for the factors, once for
# the product, and 2^-11 since rounding to half precision leaves the stored vectors not quite of length one.
MARGIN = {torch.float32: 2e-3, torch.bfloat16: 3 * 2**-8 + 2**-10}
QUERIES, BLOCK = 4096, 1024  # training and evaluation vectors of one product: 8 or 16 MB
FLAT, IVF = "flat", "ivf"


@dataclass(frozen=True)
class Hits:
    """Pairs of an evaluation image and a training image, all arrays of one length n.

    Attributes:
      image: number of the evaluation image, int64.
      view: number of its view that was met, int16.
      query: number of the training image, int64.
      region: number of its region, int16.
      similarity: cosine, float32.
    """

    image: np.ndarray
    view: np.ndarray
    query: np.ndarray
    region: np.ndarray
    similarity: np.ndarray

    def __len__(self) -> int:
        return len(self.image)

    def take(self, chosen: np.ndarray) -> Hits:
        return Hits(*(values[chosen] for values in vars(self).values()))

    @staticmethod
    def concatenate(some: list[Hits]) -> Hits:
        some = some or [no_hits()]
        return Hits(*(np.concatenate(columns) for columns in zip(*(vars(hits).values() for hits in some))))


def no_hits() -> Hits:
    return Hits(np.zeros(0, np.int64), np.zeros(0, np.int16), np.zeros(0, np.int64), np.zeros(0, np.int16), np.zeros(0, np.float32))


def exact_similarity(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine of each row pair, float16 [n, D] twice -> float32 [n], the same in whatever company a pair comes."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    product = (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1)).clip(1e-12)
    return product.astype(np.float32)


def fast_precision() -> torch.dtype:
    """bfloat16 where the processor multiplies it in hardware, four to eight times as fast; float32 elsewhere."""
    return torch.bfloat16 if cpu_multiplies_bfloat16() else torch.float32


class FlatIndex:
    """Looks at all vectors.

    Args:
      vectors: unit vectors float16 [n, D]; not copied unless they are read-only.
      precision: of the proposing product; default: the machine's fastest. It changes no hit.
    """

    def __init__(self, vectors: np.ndarray, precision: torch.dtype | None = None) -> None:
        self.vectors = torch.from_numpy(np.require(vectors, requirements=["C", "W"]))
        self.precision = precision or fast_precision()

    def propose(self, queries: np.ndarray, threshold: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows and queries of all pairs that may be at or above the threshold, and some below; int64 [p] twice, block by block.

        Args:
          queries: unit vectors float32 [q, D], at most QUERIES.
        """
        turned = torch.from_numpy(queries).to(self.precision).T.contiguous()  # [D, q]
        limit = threshold - MARGIN[self.precision]
        products = torch.empty(BLOCK, turned.shape[1], dtype=self.precision)  # once: fresh pages cost as much as the product
        for start in range(0, len(self.vectors), BLOCK):
            # By way of single precision, which is three times as fast as straight to bfloat16.
            block = self.vectors[start : start + BLOCK].float().to(self.precision)  # [b, D]
            product = torch.mm(block, turned, out=products[: len(block)])  # [b, q]
            # Most rows propose nothing, and their maximum tells so faster than a comparison of every number would.
            rows = (_row_maxima(product, limit) >= limit).nonzero()[:, 0]
            if len(rows):
                at, query = (product[rows] >= limit).nonzero(as_tuple=True)
                yield (rows[at] + start).numpy(), query.numpy()


def _row_maxima(product: torch.Tensor, limit: float) -> torch.Tensor:
    """Maximum of each row, [b, q] -> [b]; where it is below a limit above zero, perhaps another number below zero."""
    if product.dtype == torch.bfloat16 and limit > 0:
        # Above zero bfloat16 orders as its bits do, which processors compare faster; numbers below zero are integers below zero.
        return product.view(torch.int16).amax(1).view(torch.bfloat16)
    return product.amax(1)


class CellIndex:
    """Looks at the vectors of the nearest cells: FAISS's IVF."""

    def __init__(self, index: faiss.IndexIVFFlat) -> None:
        self.index = index

    def propose(self, queries: np.ndarray, threshold: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """As `FlatIndex.propose`."""
        limits, _, rows = self.index.range_search(queries, threshold - MARGIN[torch.float32])
        yield rows, np.repeat(np.arange(len(queries)), np.diff(limits.astype(np.int64)))


class EvaluationIndex:
    """All views of all evaluation images.

    Args:
      vectors: unit vectors float16 [n, D].
      image: number of the image each shows, int64 [n].
      view: number of the view, int16 [n].
      index: over them (`build_index`).
    """

    def __init__(self, vectors: np.ndarray, image: np.ndarray, view: np.ndarray, index: FlatIndex | CellIndex) -> None:
        self.vectors, self.image, self.view, self.index = vectors, image, view, index

    def search(self, queries: np.ndarray, threshold: float) -> Hits:
        """Every pair at or above the threshold, the best view for each.

        Args:
          queries: unit vectors float16 [q, D]; `query` in the result counts its rows, `region` is zero.
        """
        found = []
        for start in range(0, len(queries), QUERIES):
            some = queries[start : start + QUERIES]
            blocks = [
                self._exact(rows[i : i + 65_536], at[i : i + 65_536], some, start, threshold)
                for rows, at in self.index.propose(unit_length(some.astype(np.float32)), threshold)
                for i in range(0, len(rows), 65_536)
            ]
            found.append(best_of_each_pair(Hits.concatenate(blocks)))
        return Hits.concatenate(found)

    def _exact(self, rows: np.ndarray, at: np.ndarray, queries: np.ndarray, start: int, threshold: float) -> Hits:
        similarity = exact_similarity(queries[at], self.vectors[rows])
        keep = similarity >= np.float32(threshold)
        rows = rows[keep]
        return Hits(self.image[rows], self.view[rows], at[keep] + start, np.zeros(len(rows), np.int16), similarity[keep])


def build_index(vectors: np.ndarray, kind: str, probes: int = 32) -> FlatIndex | CellIndex:
    """Index over float16 [n, D] by inner product: `flat` looks at all, `ivf` at the nearest cells of 4·√n.

    Too few vectors for cells make a flat one.
    """
    cells = int(4 * len(vectors) ** 0.5)
    if kind == FLAT or len(vectors) < 39 * cells:  # FAISS asks for 39 training vectors a cell
        return FlatIndex(vectors)
    single = unit_length(vectors.astype(np.float32))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(vectors.shape[1]), vectors.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
    index.nprobe = probes
    index.cp.max_points_per_centroid = 64  # as good on what views look like, and four times as fast as FAISS's 256
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # sums in one order, whatever the machine
    index.train(single)
    faiss.omp_set_num_threads(threads)
    index.add(single)
    return CellIndex(index)


def best_of_each_pair(hits: Hits) -> Hits:
    """One hit for each pair of images: the highest similarity, and among equals the first view and region."""
    order = np.lexsort((hits.region, hits.view, -hits.similarity, hits.query, hits.image))
    sorted_hits = hits.take(order)
    first = np.ones(len(order), bool)
    first[1:] = (np.diff(sorted_hits.image) != 0) | (np.diff(sorted_hits.query) != 0)
    return sorted_hits.take(first)


def cap_each_image(image: np.ndarray, similarity: np.ndarray, name: np.ndarray, cap: int) -> np.ndarray:
    """Rows of the `cap` most similar training images of each evaluation image, ties by name; sorted by image, then so.

    Args:
      image: int64 [n]. similarity: float32 [n]. name: strings [n] that tell training images apart.
    """
    order = np.lexsort((name, -similarity, image))
    ranked = image[order]
    starts = np.flatnonzero(np.concatenate(([True], np.diff(ranked) != 0))) if len(ranked) else np.zeros(0, np.int64)
    rank = np.arange(len(ranked)) - np.repeat(starts, np.diff(np.concatenate((starts, [len(ranked)]))))
    return order[rank < cap]


def recall_against_flat(index: EvaluationIndex, queries: np.ndarray, threshold: float) -> tuple[int, int]:
    """Pairs that the index finds, and that an exact search finds, on some training vectors float16 [q, D]."""
    flat = EvaluationIndex(index.vectors, index.image, index.view, FlatIndex(index.vectors))
    return len(index.search(queries, threshold)), len(flat.search(queries, threshold))
