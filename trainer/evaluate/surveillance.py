"""`trainer surveillance`: captions chosen for images of cameras, with hard negatives, and small things seen or not (section 7.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.evaluate import flags as shared
from trainer.evaluate.choices import KINDS, RIGHT, candidate_rates, presence_rates
from trainer.evaluate.encoder import Encoder
from trainer.evaluate.features import Features, extract
from trainer.evaluate.page_parts import percent, with_interval
from trainer.evaluate.row_files import read_rows
from trainer.evaluate.rows import CHUNK
from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.evalsets import open_pictures
from wit_builder.outputs import sha256_of
from wit_builder.report import Section, render

YES, NO = ("yes", "true", "1"), ("no", "false", "0")


def read_candidates(path: str) -> list[dict[str, str]]:
    """Rows with eval_key, caption and kind (right, wrong, close).

    Raises:
      UserError: where a kind is another, a caption is empty, or an image has no right caption.
    """
    rows, _ = read_rows(path, ["eval_key", "caption", "kind"], f"columns: eval_key, caption, kind ({', '.join(KINDS)})")
    for number, row in enumerate(rows, 2):
        if row["kind"] not in KINDS or not str(row["caption"] or "").strip():
            raise UserError("not a candidate caption", where=f"{path}, line {number}", fix=f"a caption, and its kind: {', '.join(KINDS)}")
    lacking = {str(row["eval_key"]) for row in rows} - {str(row["eval_key"]) for row in rows if row["kind"] == RIGHT}
    if lacking or not rows:
        raise UserError(f"{min(lacking)!r} has no right caption" if lacking else "no caption in it", where=path)
    return [{name: str(row[name]) for name in ("eval_key", "caption", "kind")} for row in rows]


def read_pairs(path: str) -> list[dict[str, Any]]:
    """Rows with eval_key, feature (what is looked for), present and absent (captions), there (yes or no).

    Raises:
      UserError: where a row lacks one.
    """
    columns = ["eval_key", "feature", "present", "absent", "there"]
    rows, _ = read_rows(path, columns, f"columns: {', '.join(columns)} (yes or no)")
    found = []
    for number, row in enumerate(rows, 2):
        texts = {name: str(row[name] if row[name] is not None else "").strip() for name in columns}
        said = texts["there"].lower()
        if not all(texts.values()) or said not in (*YES, *NO):
            raise UserError("not a pair of captions", where=f"{path}, line {number}", fix=f"columns: {', '.join(columns)} (yes or no)")
        found.append({**texts, "there": said in YES})
    if not found:
        raise UserError("no pair in it", where=path)
    return found


def row_scores(encoder: Encoder, features: Features, places: np.ndarray, texts: Sequence[str]) -> np.ndarray:
    """Cosine of each text with its image, float32 [m], of int [m] and m texts; a text is embedded once."""
    distinct = sorted(set(texts))
    which = np.searchsorted(np.array(distinct), np.array(texts))
    vectors = encoder.embed_texts(distinct, "captions")
    images = features.embedding.take(places)
    chunks = [slice(start, start + CHUNK) for start in range(0, len(texts), CHUNK)]
    return np.concatenate([np.einsum("md,md->m", images[chunk], vectors[which[chunk]]) for chunk in chunks])


def known_rows(rows: Sequence[Mapping[str, Any]], features: Features, path: str) -> tuple[list[Mapping[str, Any]], np.ndarray, int]:
    """Rows of usable images, the place of each one's image, and how many rows are of other keys. Raises UserError where all are."""
    place = {key: index for index, key in enumerate(features.rows["eval_key"].to_pylist())}
    kept = [row for row in rows if row["eval_key"] in place]
    if not kept:
        raise UserError(f"no eval_key is a usable picture (the set has {next(iter(place))!r})", where=path)
    return kept, np.array([place[row["eval_key"]] for row in kept]), len(rows) - len(kept)


def sections(found: Mapping[str, Any]) -> list[Section]:
    """The page's part."""
    made = []
    if one := found.get("candidates"):
        section = Section(
            "Captions chosen for images",
            "The best of an image's captions: among wrong ones, then with close ones too, which differ in little from the right one.",
        )
        names = {
            "without_close": "right, without close captions", "same_without_close": "the same, images that have close captions",
            "with_close": "right, with close captions", "chose_close": "chose a close caption", "chose_wrong": "chose a wrong caption",
        }  # fmt: skip
        body = [[title, one[name]["total"], *with_interval(one[name])] for name, title in names.items() if one[name]]
        section.table(["", "images", "per cent", "low", "high"], body)
        made.append(section)
    if pairs := found.get("pairs"):
        section = Section("Present or absent", "One caption says that it is there, one that it is not; ROC AUC of 50 is chance.")
        section.table(
            ["", "images", "right", "low", "high", "said present", "is present", "ROC AUC"],
            [
                [
                    name, one["accuracy"]["total"], *with_interval(one["accuracy"]), percent(one["said_present"]["value"]),
                    percent(one["base"]), percent(one["roc_auc"]),
                ]
                for name, one in pairs.items()
            ],
        )  # fmt: skip
        made.append(section)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    made = shared.command_parser(
        "surveillance",
        "Choose captions for images, with hard negatives, and tell what is there from what is not; writes metrics.json and a page.",
        "trainer surveillance --checkpoint model.safetensors --images cameras --candidates captions.csv --pairs pairs.csv --output results",
    )
    shared.add_model_flags(made)
    made.add_argument("--images", required=True, metavar="DIR", help="an evaluation set, or a folder of pictures")
    shared.add_split_flag(made)
    made.add_argument("--candidates", default="", metavar="FILE", help="CSV or Parquet: eval_key, caption, kind (right, wrong, close)")
    made.add_argument("--pairs", default="", metavar="FILE", help="CSV or Parquet: eval_key, feature, present, absent, there (yes, no)")
    flags = made.parse_args(arguments)

    if not flags.candidates and not flags.pairs:
        raise UserError("there is nothing to choose from", where="--candidates, --pairs", fix="give one of them, or both")
    candidates = read_candidates(flags.candidates) if flags.candidates else []
    pairs = read_pairs(flags.pairs) if flags.pairs else []
    opened = open_pictures(flags.images, "images")
    encoder = shared.encoder_of(flags)
    inputs = {
        "images": opened.fingerprint(flags.split), "candidates": sha256_of(flags.candidates) if flags.candidates else None,
        "pairs": sha256_of(flags.pairs) if flags.pairs else None,
    }  # fmt: skip
    output = shared.open_output(flags, "surveillance", {"split": flags.split}, inputs, encoder)
    if output is None:
        return 0

    features = extract(encoder, opened, flags.split, flags.cache, flags.threads)
    found: dict[str, Any] = {"skipped": features.skipped}
    drops = dict(features.skipped["counts"])
    if candidates:
        rows, places, drops["captions of other keys"] = known_rows(candidates, features, flags.candidates)
        images, owner = np.unique(places, return_inverse=True)
        scores = row_scores(encoder, features, places, [row["caption"] for row in rows])
        found["candidates"] = one = candidate_rates(scores, owner, [row["kind"] for row in rows], len(images))
        for name in ("without_close", "with_close", "chose_close"):
            if one[name]:
                print(f"{name.replace('_', ' ')}: {100 * one[name]['value']:.2f}% of {one[name]['total']} images")
    if pairs:
        rows, places, drops["pairs of other keys"] = known_rows(pairs, features, flags.pairs)
        present, absent = (row_scores(encoder, features, places, [row[name] for row in rows]) for name in ("present", "absent"))
        there, feature = np.array([row["there"] for row in rows]), np.array([row["feature"] for row in rows])
        found["pairs"] = {
            name: presence_rates(present[feature == name], absent[feature == name], there[feature == name])
            for name in sorted(set(feature.tolist()))
        }
        for name, one in found["pairs"].items():
            print(f"{name}: {100 * one['accuracy']['value']:.2f}% right of {one['accuracy']['total']} images")
    files.write_json(output.file("metrics.json"), found)
    files.write_bytes(output.file("report.html"), render("Surveillance", sections(found), f"{len(features):,} images."))
    output.finish({"images": len(features)}, drops)
    return 0
