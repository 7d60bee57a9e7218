"""What the overlap search should have found: planted copies that were saved, against the hits that count."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from wit_builder import files, tables


def saved_uids(shard_tables: Iterable[str]) -> dict[str, str]:
    """URL of each image that was saved, by the uid of its pair, from the Parquet files of shards."""
    found: dict[str, str] = {}
    for path in shard_tables:
        for row in tables.read_table(path, ["uid", "url", "status"]).to_pylist():
            if row["status"] == "success":
                found[row["uid"]] = row["url"]
    return found


def recall(world: str, saved: Mapping[str, str], hits: Iterable[Mapping], thresholds: Mapping[str, float]) -> dict:
    """How many planted copies were found.

    Args:
      world: a made world's folder.
      saved: see `saved_uids`.
      hits: rows of OVERLAPS' columns dataset, eval_key, uid, similarity.
      thresholds: similarity from which a set's hits count.

    Returns:
      `transforms`, {name: [found, saved]}; `easy`, the same for those that were only recompressed or resized; `all`; and
      `false`, the evaluation images with a hit but no planted copy that was saved.
    """
    truth = files.read_json(os.path.join(world, "truth.json"))
    places: dict[str, list[str]] = {}
    for uid, url in saved.items():
        places.setdefault(url, []).append(uid)
    found = {(hit["dataset"], hit["eval_key"], hit["uid"]) for hit in hits if hit["similarity"] >= thresholds[hit["dataset"]]}
    counted = {name: [0, 0] for name in truth["transforms"]}
    planted = set()
    for plant in truth["plants"]:
        for uid in places.get(plant["url"], ()):
            planted.add((plant["dataset"], plant["eval_key"]))
            counted[plant["transform"]][0] += (plant["dataset"], plant["eval_key"], uid) in found
            counted[plant["transform"]][1] += 1

    def total(names: Iterable[str]) -> list[int]:
        return [sum(counted[name][part] for name in names) for part in (0, 1)]

    others = {(dataset, eval_key) for dataset, eval_key, _ in found} - planted
    return {"transforms": counted, "easy": total(truth["easy"]), "all": total(counted), "false": len(others)}
