"""The demo's numbers, read from the files that its stages left: as a line for each stage, as JSON, as one screen."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from sample_world import truth
from wit_builder import files, tables

# where each stage that has a manifest leaves it
_FOLDERS = {
    "build_queries": "queries",
    "extract_pairs": "pairs",
    "balance_pairs": "balanced",
    "download_images": "shards",
    "dedup train": "detector",
    "find_overlaps": "overlaps",
    "trainer zero-shot": "zero-shot",
}
_DROPS_SHOWN = 5


def line(step: str, folder: str) -> str:
    """What went into one stage and came out of it, in a few words."""
    counts, _ = _counts(step, folder)
    return _SAID[step](counts)


def collect(folder: str, seconds: Mapping[str, float]) -> dict[str, Any]:
    """All numbers of a finished run, for summary.json.

    Returns:
      `seconds` of each stage and in total; `stages`, the counts and drops of each; `zero_shot`, each set's accuracy beside
      chance; `overlap`, each set's contamination and its effect; `recall` of the planted copies (`sample_world.truth.recall`).
    """
    stages = {}
    for step in _SAID:
        counts, drops = _counts(step, folder)
        stages[step] = {"counts": counts, "drops": drops}
    metrics = files.read_json(os.path.join(folder, "zero-shot", "metrics.json"))["sets"]
    zero_shot = {
        name: {
            "accuracy": found["top1"]["value"],
            "examples": found["top1"]["total"],
            "chance": 1 / found["classes"],
            "times_chance": found["top1"]["value"] * found["classes"],
        }
        for name, found in metrics.items()
    }
    report = files.read_json(os.path.join(folder, "overlap-report", "overlap.json"))
    wanted = (
        "threshold", "examples", "overlap", "contamination", "accuracy_all", "accuracy_clean", "accuracy_overlap", "gain", "p_value",
    )  # fmt: skip
    overlap = {one["dataset"]: {name: one[name] for name in wanted} for one in report["sets"]}
    saved = truth.saved_uids(files.match(os.path.join(folder, "shards", "*.parquet")))
    hits = [row for path in tables.find(os.path.join(folder, "overlaps"), "overlaps") for row in _hits(path)]
    recall = truth.recall(os.path.join(folder, "world"), saved, hits, {name: one["threshold"] for name, one in overlap.items()})
    return {
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "stages": stages,
        "zero_shot": zero_shot,
        "overlap": overlap,
        "recall": recall,
    }


def screen(found: Mapping[str, Any], folder: str) -> str:
    """The summary on one screen."""
    lines = [f"From raw pages to an evaluated model in {found['seconds']['total']:.0f} s", ""]
    for step, numbers in found["stages"].items():
        lines.append(f"{step:18} {_SAID[step](numbers['counts'])}")
        if numbers["drops"]:
            lines.append(f"{'':18} dropped: {_dropped(numbers['drops'])}")
    lines.append("")
    for name, one in found["zero_shot"].items():
        lines.append(
            f"zero-shot on {name:8} {one['accuracy']:6.1%} of {one['examples']} images right;"
            f" chance {one['chance']:.1%}, so {one['times_chance']:.1f} times chance"
        )
    for name, one in found["overlap"].items():
        effect = "" if one["gain"] is None else f"; accuracy All − Clean {100 * one['gain']:+.2f} points"
        if one["accuracy_overlap"] is not None and one["accuracy_clean"] is not None:
            effect += f" (Overlap {one['accuracy_overlap']:.1%}, Clean {one['accuracy_clean']:.1%})"
        lines.append(f"overlap of {name:10} {one['overlap']} of {one['examples']} images ({one['contamination']:.1%}){effect}")
    recall = found["recall"]
    easy, every = recall["easy"], recall["all"]
    lines.append(
        f"planted copies found  {_share(every)}; recompressed or resized only: {_share(easy)};"
        f" images held to overlap without a planted copy: {recall['false']}"
    )
    parts = [f"{name} {one[0]}/{one[1]}" for name, one in recall["transforms"].items()]
    lines += [f"{'  by transform':22}{', '.join(parts[:5])},", f"{'':22}{', '.join(parts[5:])}", ""]
    lines += [
        f"shards   {os.path.join(folder, 'shards')}   model  {os.path.join(folder, 'model', 'model.safetensors')}",
        f"numbers  {os.path.join(folder, 'summary.json')}   overlap report  {os.path.join(folder, 'overlap-report', 'report.html')}",
        f"reports  {', '.join(sorted(os.path.join(folder, name, 'report.html') for name in ('queries', 'pairs', 'balanced', 'shards')))}",
    ]
    return "\n".join(lines)


def _counts(step: str, folder: str) -> tuple[dict[str, Any], dict[str, int]]:
    """Counts and drops of one stage, from what it wrote."""
    if step in _FOLDERS:
        manifest = files.read_json(os.path.join(folder, _FOLDERS[step], "manifest.json"))
        return {**manifest["counts"], **_more(manifest.get("calibration"))}, manifest["drops"]
    if step == "sample_world":
        return files.read_json(os.path.join(folder, "world", "world.json"))["counts"], {}
    if step == "trainer train":
        with open(os.path.join(folder, "model", "metrics.jsonl"), encoding="utf-8") as stream:
            rows = [json.loads(row) for row in stream]
        last = rows[-20:]
        loss = round(sum(row["loss"] for row in last) / len(last), 3)
        first = round(rows[0]["loss"], 3)
        return {"steps": rows[-1]["step"] + 1, "pairs seen": rows[-1]["samples"], "loss at first": first, "loss": loss}, {}
    report = files.read_json(os.path.join(folder, "overlap-report", "overlap.json"))
    return {"sets": len(report["sets"]), "training images to remove": report["removed"]}, {}


def _more(calibration: Mapping[str, Any] | None) -> dict[str, Any]:
    """Of a detector: the threshold that it found for itself."""
    return {"threshold": round(calibration["threshold"], 3)} if calibration else {}


def _hits(path: str) -> list[dict[str, Any]]:
    return tables.read_table(path, ["dataset", "eval_key", "uid", "similarity"]).to_pylist()


def _share(found: list[int]) -> str:
    return f"{found[0]} of {found[1]}" + (f" ({found[0] / found[1]:.1%})" if found[1] else "")


def _dropped(drops: Mapping[str, int]) -> str:
    ranked = sorted(((name, number) for name, number in drops.items() if number), key=lambda item: (-item[1], item[0]))
    shown = [f"{number:,} {name}" for name, number in ranked[:_DROPS_SHOWN]]
    rest = sum(number for _, number in ranked[_DROPS_SHOWN:])
    return ", ".join([*shown, f"{rest:,} for other reasons"] if rest else shown) or "nothing"


_SAID = {
    "sample_world": lambda n: (
        f"{n['wiki articles']} articles, {n['synsets']} synsets, {n['pages']} web pages, {n['pictures']:,} pictures,"
        f" {n['planted copies']} of them planted"
    ),
    "build_queries": lambda n: (
        f"{n['tokens']:,} tokens -> {n['queries']:,} queries: {n['queries from unigram']} words, {n['queries from bigram']} bigrams,"
        f" {n['queries from title']} titles, {n['queries from wordnet']} of WordNet"
    ),
    "extract_pairs": lambda n: f"{n['pages']:,} pages with {n['images']:,} images -> {n['pairs']:,} pairs",
    "balance_pairs": lambda n: (
        f"{n['pairs']:,} pairs -> {n['balanced pairs']:,};"
        f" {n['queries that match']} queries match, {n['queries over the cap']} over the cap"
    ),
    "download_images": lambda n: f"{n['pairs_tried']:,} pairs -> {n['images_saved']:,} images in {n['shards']} shards",
    "dedup train": lambda n: f"{n['steps']} steps on {n['images in memory']:,} images; threshold {n.get('threshold', 'not set')}",
    "find_overlaps": lambda n: (
        f"{n['evaluation images']:,} evaluation against {n['training images']:,} training images"
        f" -> {n['evaluation images with hits']:,} with hits to look at"
    ),
    "trainer train": lambda n: f"{n['pairs seen']:,} pairs in {n['steps']:,} steps; loss {n['loss at first']} -> {n['loss']}",
    "trainer zero-shot": lambda n: ", ".join(f"{number} images of {name}" for name, number in n.items()),
    "dedup report": lambda n: f"{n['sets']} sets; {n['training images to remove']} training images listed for removal",
}
