"""Choosing among captions: hard negatives, presence against absence, and more or fewer names (the paper's section 7.2). NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trainer.evaluate.metrics import Rate, rate, roc_auc
from wit_builder.hashing import hash64

RIGHT, WRONG, CLOSE = "right", "wrong", "close"
KINDS = (RIGHT, WRONG, CLOSE)


def chosen(scores: np.ndarray, owner: np.ndarray, right: np.ndarray, images: int) -> np.ndarray:
    """The best caption of each image: int [n], −1 where it has none. Of equal scores a wrong one is taken, so a constant wins nothing.

    Args:
      scores: of each caption with its own image, float [m].
      owner: the image of each caption, int [m].
      right: whether it describes the image, bool [m].
      images: n.
    """
    order = np.lexsort((np.arange(len(scores)), right, -scores))  # best first, wrong before right
    _, first = np.unique(owner[order], return_index=True)
    found = np.full(images, -1)
    found[owner[order][first]] = order[first]
    return found


def candidate_rates(scores: np.ndarray, owner: np.ndarray, kinds: Sequence[str], images: int) -> dict[str, Any]:
    """Rates of the right caption chosen among the wrong ones, and with `close` ones on offer too.

    Args:
      scores: of each caption with its own image, float [m].
      owner: the image of each caption, int [m].
      kinds: right, wrong or close, m of them; every image has a right one.
      images: n.

    Returns:
      `without_close`: right, over all images that have a wrong caption; `with_close`: right, over those that have a close one, with
      `chose_close` and `chose_wrong` of the same, and `same_without_close`, right on these without the close ones. None for no image.
    """
    kind = np.array(kinds)
    right, close = kind == RIGHT, kind == CLOSE
    has_wrong, has_close = (np.bincount(owner[kind == one], minlength=images) > 0 for one in (WRONG, CLOSE))
    easy = np.full(images, -1)
    easy_captions = np.flatnonzero(~close)
    places = chosen(scores[easy_captions], owner[easy_captions], right[easy_captions], images)
    easy[places >= 0] = easy_captions[places[places >= 0]]
    hard = chosen(scores, owner, right, images)

    def share(best: np.ndarray, wanted: str, inside: np.ndarray) -> Rate | None:
        return rate(np.count_nonzero(kind[best[inside]] == wanted), np.count_nonzero(inside)) if inside.any() else None

    return {
        "images": images,
        "without_close": share(easy, RIGHT, has_wrong),
        "with_close": share(hard, RIGHT, has_close),
        "chose_close": share(hard, CLOSE, has_close),
        "chose_wrong": share(hard, WRONG, has_close),
        "same_without_close": share(easy, RIGHT, has_close & has_wrong),
    }


def presence_rates(present: np.ndarray, absent: np.ndarray, there: np.ndarray) -> dict[str, Any]:
    """Telling whether something is in an image by two captions.

    Args:
      present: score of the caption that says it is there, float [n].
      absent: score of the one that says it is not, float [n].
      there: the truth, bool [n].

    Returns:
      `accuracy`; `said_present`, the share of images where that caption won; `base`, the share where it is true; `roc_auc` of the
      difference, None where only one of both occurs. Equal scores are wrong.
    """
    says = present > absent
    right = np.where(there, says, present < absent)
    return {
        "accuracy": rate(np.count_nonzero(right), len(right)),
        "said_present": rate(np.count_nonzero(says), len(says)),
        "base": float(there.mean()),
        "roc_auc": roc_auc(present - absent, there) if 0 < there.sum() < len(there) else None,
    }


def first_names(names: Sequence[str], count: int, seed: int) -> np.ndarray:
    """Class numbers of `count` names in a salted order, ascending; fewer are a subset of more: int [count]."""
    order = sorted(range(len(names)), key=lambda place: (hash64("identities", seed, names[place]), place))
    return np.sort(order[:count])
