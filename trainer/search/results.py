"""What was found, as JSON and as a page with thumbnails."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from trainer.evaluate.nearest import Nearest
from trainer.evaluate.thumbnails import thumbnail
from trainer.search.frames import frame_of, name_of, seconds_of
from trainer.search.index import Index
from trainer.search.queries import Query
from trainer.search.sources import Part
from wit_builder import files
from wit_builder.report import Section, render
from wit_builder.shards import read_image

ON_PAGE = 24  # pictures of a query
QUERIES_ON_PAGE = 50
COLUMNS = ("key", "text", "clip", "columns", "tar_offset", "tar_size")


def rows_of(index: Index, nearest: Nearest, frames: str, fps: float) -> tuple[list[list[dict[str, Any]]], dict[int, dict[str, Any]]]:
    """Results of each query, nearest first, as they go into results.json; and the index's rows by place.

    Args:
      index: what was searched.
      nearest: what was found.
      frames: how frames are told (`frames.frame_of`).
      fps: frames a second, 0 where it is not known.
    """
    known = index.look_up([place for places in nearest.places for place in places.tolist()], COLUMNS)
    found = []
    for places, cosines in zip(nearest.places, nearest.cosines):
        one = []
        for rank, (place, cosine) in enumerate(zip(places.tolist(), cosines.tolist()), 1):
            row = known[place]
            part = index.parts[row["part"]]
            columns = json.loads(row["columns"])
            video, frame = frame_of(name_of(part, row["key"]), row["clip"], frames)
            result = {
                "rank": rank, "similarity": round(cosine, 6), "source": part.name, "key": row["key"], "text": row["text"],
                "url": str(columns.get("url", "")), "uid": str(columns.get("uid", "")), "columns": columns,
            }  # fmt: skip
            if video:
                result |= {"video": video, "frame": frame, "seconds": seconds_of(frame, fps)}
            one.append(result)
        found.append(one)
    return found, known


def read_pictures(index: Index, rows: dict[int, dict[str, Any]], places: Collection[int]) -> dict[int, bytes]:
    """Thumbnails by place, from ranged reads of the tars; a picture that is no longer there is left out."""
    found: dict[int, bytes] = {}
    by_part: dict[int, list[int]] = {}
    for place in sorted(places):
        by_part.setdefault(rows[place]["part"], []).append(place)
    for number, some in by_part.items():
        part = index.parts[number]
        for place in some:
            try:
                data = _bytes_of(part, rows[place])
            except OSError:
                continue
            if small := thumbnail(data):
                found[place] = small
    return found


def _bytes_of(part: Part, row: dict[str, Any]) -> bytes:
    if not part.is_tar:
        return files.read_bytes(files.join(part.path, row["key"]))
    with files.open_read(part.path) as stream:
        return read_image(stream, row["tar_offset"], row["tar_size"])


def page(
    queries: Sequence[Query], nearest: Nearest, results: Sequence[Sequence[dict[str, Any]]], pictures: dict[int, bytes], lead: str
) -> bytes:
    """The page: for each query the best pictures, then everything in a table."""
    sections = []
    shown = list(zip(queries, nearest.places, results))[:QUERIES_ON_PAGE]
    for query, places, rows in shown:
        section = Section(query.label, note=f"the best {min(ON_PAGE, len(rows))}, with the cosine similarity")
        if query.data and (own := thumbnail(query.data)):
            section.image(own, "what was looked for")
        for place, row in list(zip(places.tolist(), rows))[:ON_PAGE]:
            caption = " · ".join(filter(None, (f"{row['similarity']:.3f}", row["text"][:100], where(row))))
            if place in pictures:
                section.image(pictures[place], caption)
        sections.append(section)
    body = [
        [query.label, row["rank"], round(row["similarity"], 3), row["text"][:300], row["url"], where(row)]
        for query, _, rows in shown
        for row in rows[:ON_PAGE]
    ]
    table = Section("Texts and places", note="results.json holds all of it.")
    table.table(["query", "rank", "cosine", "text", "url", "where"], body)
    return render("Search", [*sections, table], lead)


def where(row: dict[str, Any]) -> str:
    """Where a result stands: video with frame or time, or source and key."""
    if not row.get("video"):
        return f"{row['source']}/{row['key']}"
    at = "" if row["frame"] is None else f" frame {row['frame']}"
    if row["seconds"] is not None:
        minutes, seconds = divmod(row["seconds"], 60)
        at += f" at {int(minutes)}:{seconds:04.1f}"
    return row["video"] + at
