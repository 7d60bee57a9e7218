"""Which pictures are frames of a video, by their names: the folder is the video, the number the frame."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from trainer.search.index import Groups
from trainer.search.sources import Part

AUTO, YES, NO = "auto", "yes", "no"
MODES = (AUTO, YES, NO)

_NUMBERED = re.compile(r"(?:frame|image|img|thumb|out|output)?[-_ ]?(\d{1,12})", re.IGNORECASE)
_PLAINLY = re.compile(r"\d{3,12}|frame[-_ ]?\d{1,12}", re.IGNORECASE)  # as extracting tools name frames, and few else


def frame_of(name: str, clip: str = "", mode: str = AUTO) -> tuple[str, int | None]:
    """Video and number of a frame; "" and None of a picture that is none.

    Args:
      name: path below the folder that is searched, or key in a tar; forward slashes.
      clip: the video, where the data say so themselves.
      mode: `yes` takes the folder of every picture for a video; `auto` only where the name is a zero-filled number or says frame;
        `no` none.

    >>> frame_of("street/00012.jpg"), frame_of("dog/3.jpg"), frame_of("dog/3.jpg", mode="yes")
    (('street', 12), ('', None), ('dog', 3))
    """
    if mode == NO:
        return "", None
    folder, _, file = name.rpartition("/")
    stem = file.partition(".")[0]
    number = _NUMBERED.fullmatch(stem)
    if clip:
        return clip, int(number[1]) if number else None
    if not folder or (mode == AUTO and not _PLAINLY.fullmatch(stem)):
        return "", None
    return folder, int(number[1]) if number else None


def seconds_of(frame: int | None, fps: float) -> float | None:
    """Where a frame stands in its video, in seconds; frames are numbered from 1, as ffmpeg does, `fps` of them a second."""
    return None if frame is None or not fps else max(0, frame - 1) / fps


def name_of(part: Part, key: str) -> str:
    """Path of a picture below the folder that is searched; of a picture in a tar its key."""
    return "/".join(filter(None, (part.below, key)))


@dataclass
class Videos(Groups):
    """Groups frames by video, so that of each video only the best is found; other pictures stand for themselves."""

    mode: str = AUTO
    columns: Sequence[str] = ("key", "clip")
    numbers: dict[str, int] = field(default_factory=dict)

    def of(self, part: Part, batch: pa.RecordBatch, first: int) -> np.ndarray:
        found = -1 - np.arange(first, first + batch.num_rows)
        for at, (key, clip) in enumerate(zip(batch.column("key").to_pylist(), batch.column("clip").to_pylist())):
            video, _ = frame_of(name_of(part, key), clip, self.mode)
            if video:
                where = part.name.partition("/")[0]  # equally named videos of two folders are two
                found[at] = self.numbers.setdefault(f"{where}\0{video}", len(self.numbers))
        return found
