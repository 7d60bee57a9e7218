"""`trainer rerank`: pictures ranked by a text, the way samples of image generators are chosen (Ramesh et al., 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from trainer.evaluate import flags as shared
from trainer.evaluate.features import extract
from trainer.evaluate.nearest import Nearest, rows_at_a_time
from trainer.evaluate.thumbnails import thumbnails
from wit_builder import files, tables
from wit_builder.errors import UserError
from wit_builder.evalsets import open_pictures
from wit_builder.flags import POSITIVE
from wit_builder.report import Section, render

CHUNK = 65_536  # pictures compared at a time
ON_PAGE = 24
RANKING = pa.schema([
    ("text", pa.string()),
    ("rank", pa.int32()),  # 1 is the best
    ("eval_key", pa.string()),
    ("similarity", pa.float32()),  # cosine
])


def best_matches(texts: np.ndarray, images: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest pictures of each text, nearest first, equal ones in their order: places int [t, k] and cosines float32 [t, k].

    Args:
      texts: unit vectors, float32 [t, e].
      images: unit vectors, float32 [n, e]; read in chunks.
      count: k, or n where there are fewer.
    """
    nearest = Nearest(texts, count)
    step = rows_at_a_time(len(texts), CHUNK)
    for start in range(0, len(images), step):
        nearest.add(np.asarray(images[start : start + step]), start)
    return np.stack(nearest.places), np.stack(nearest.cosines)


def main(arguments: Sequence[str] | None = None) -> int:
    made = shared.command_parser(
        "rerank",
        "Rank pictures by how well they fit a text; writes the ranking, and a page with the best.",
        "trainer rerank --checkpoint model.safetensors --images samples --text 'an armchair in the shape of an avocado' --output results",
    )
    shared.add_model_flags(made)
    made.add_argument("--images", required=True, metavar="DIR", help="a folder of pictures, or an evaluation set")
    shared.add_split_flag(made)
    made.add_argument("--text", action="append", required=True, metavar="TEXT", help="what they should show; repeat for more rankings")
    made.add_argument("--top", type=POSITIVE, default=1000, metavar="N", help="pictures in a ranking (default: 1000)")
    flags = made.parse_args(arguments)

    if not all(text.strip() for text in flags.text):
        raise UserError("an empty text ranks nothing", where="--text")
    opened = open_pictures(flags.images, "pictures")
    encoder = shared.encoder_of(flags)
    parameters = {"texts": flags.text, "top": flags.top, "split": flags.split}
    output = shared.open_output(flags, "rerank", parameters, {"images": opened.fingerprint(flags.split)}, encoder)
    if output is None:
        return 0

    features = extract(encoder, opened, flags.split, flags.cache, flags.threads)
    places, cosines = best_matches(encoder.embed_texts(flags.text), features.embedding, flags.top)
    keys = features.rows["eval_key"].combine_chunks()
    columns = [
        np.repeat(np.array(flags.text, object), places.shape[1]),
        np.tile(np.arange(1, places.shape[1] + 1), len(flags.text)),
        keys.take(pa.array(places.ravel())),
        cosines.ravel(),
    ]
    tables.write_table(output.file(tables.numbered("ranking", 0, 1)), pa.table(columns, names=RANKING.names).cast(RANKING))

    shown = keys.take(pa.array(np.unique(places[:, :ON_PAGE]))).to_pylist()
    pictures = thumbnails(opened, flags.split, set(shown))
    sections = []
    for text, row, values in zip(flags.text, places, cosines):
        section = Section(text, note=f"the best {min(ON_PAGE, len(row))} of {len(features):,} pictures, with the cosine similarity")
        for place, cosine in zip(row[:ON_PAGE].tolist(), values.tolist()):
            if picture := pictures.get(keys[place].as_py()):
                section.image(picture, f"{cosine:.3f} {keys[place].as_py()}")
        sections.append(section)
        print(f"{text!r}: {keys[int(row[0])].as_py()} ({values[0]:.3f})")
    skipped = features.skipped["counts"]
    lead = f"{len(features):,} pictures ranked; {sum(skipped.values()):,} could not be used."
    files.write_bytes(output.file("report.html"), render("Pictures ranked by text", sections, lead))
    output.finish({"pictures": len(features)}, skipped)
    return 0
