"""Search turned round: evaluation images stand in the index, training embeddings stream past it.

Every pair at or above the threshold is found, not only the best. FAISS proposes; the similarity that is kept is
computed again in double precision from the stored half-precision vectors, one pair at a time, so that hits are the same
however the training set is divided into shards and batches.
"""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np

MARGIN = 2e-3  # FAISS's single-precision products are this close to the exact similarity, and much closer
MAX_PAIRS = 16_000_000  # proposed pairs of a batch, at most (12 bytes each): bounds the batch, not the result
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


class EvaluationIndex:
    """All views of all evaluation images.

    Args:
      vectors: unit vectors float16 [n, D].
      image: number of the image each shows, int64 [n].
      view: number of the view, int16 [n].
      index: a FAISS index over them by inner product (`build_index`).
    """

    def __init__(self, vectors: np.ndarray, image: np.ndarray, view: np.ndarray, index: faiss.Index) -> None:
        self.vectors, self.image, self.view, self.index = vectors, image, view, index

    def search(self, queries: np.ndarray, threshold: float) -> Hits:
        """Every pair at or above the threshold, the best view for each.

        Args:
          queries: unit vectors float16 [q, D]; `query` in the result counts its rows, `region` is zero.
        """
        found = []
        rows = int(np.clip(MAX_PAIRS // max(1, len(self.vectors)), 32, 1024))
        for start in range(0, len(queries), rows):
            some = queries[start : start + rows]
            limits, _, labels = self.index.range_search(_normalised(some), threshold - MARGIN)
            at = np.repeat(np.arange(len(some)), np.diff(limits.astype(np.int64)))
            similarity = np.concatenate(
                [np.zeros(0, np.float32)]
                + [
                    exact_similarity(some[at[i : i + 65_536]], self.vectors[labels[i : i + 65_536]])
                    for i in range(0, len(labels), 65_536)
                ]
            )
            keep = similarity >= np.float32(threshold)
            labels = labels[keep]
            hits = Hits(self.image[labels], self.view[labels], at[keep] + start, np.zeros(len(labels), np.int16), similarity[keep])
            found.append(best_of_each_pair(hits))
        return Hits.concatenate(found)


def _normalised(vectors: np.ndarray) -> np.ndarray:
    single = vectors.astype(np.float32)
    return single / np.linalg.norm(single, axis=1, keepdims=True).clip(1e-12)


def build_index(vectors: np.ndarray, kind: str, probes: int = 32) -> faiss.Index:
    """FAISS index over float16 [n, D] by inner product: `flat` looks at all, `ivf` at the nearest cells of 4·√n.

    Too few vectors for cells make a flat one.
    """
    single = _normalised(vectors)
    cells = int(4 * len(single) ** 0.5)
    if kind == FLAT or len(single) < 39 * cells:  # FAISS asks for 39 training vectors a cell
        index: faiss.Index = faiss.IndexFlatIP(vectors.shape[1])
    else:
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(vectors.shape[1]), vectors.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
        index.nprobe = probes
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)  # sums in one order, whatever the machine
        index.train(single)
        faiss.omp_set_num_threads(threads)
    index.add(single)
    return index


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
    flat = EvaluationIndex(index.vectors, index.image, index.view, build_index(index.vectors, FLAT))
    return len(index.search(queries, threshold)), len(flat.search(queries, threshold))
