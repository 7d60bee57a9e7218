"""`trainer search`: pictures, shards or frames of videos looked through by texts and pictures (the paper's section 7)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from trainer.evaluate import flags as shared
from trainer.search.frames import AUTO, MODES, Videos
from trainer.search.index import build_index
from trainer.search.queries import embed_queries, read_queries
from trainer.search.results import ON_PAGE, QUERIES_ON_PAGE, page, read_pictures, rows_of, where
from trainer.search.sources import find_parts
from wit_builder import files
from wit_builder.flags import POSITIVE, Bounded


def main(arguments: Sequence[str] | None = None) -> int:
    made = shared.command_parser(
        "search",
        "Find the pictures that fit a text, or are like a picture, among shards, webdatasets, folders of pictures or frames of videos."
        " Pictures are embedded once; what is added later is embedded alone. Writes results.json and a page.",
        "trainer search --checkpoint model.safetensors --images shards --index index --text 'a red bicycle' --output results\n"
        "  trainer search --checkpoint model.safetensors --images frames --fps 1 --one-per-video --text 'a person falls' --output results",
    )
    shared.add_model_flags(made)
    made.add_argument("--images", required=True, nargs="+", metavar="PATH", help="folders of shards or pictures, or patterns of tars")
    made.add_argument("--index", default="", metavar="DIR", help="where embeddings are kept (default: search in the cache)")
    made.add_argument("--text", action="append", default=[], metavar="TEXT", help="what to look for; repeat for more queries")
    made.add_argument("--image", action="append", default=[], metavar="FILE", help="a picture to find similar ones of; repeat for more")
    made.add_argument("--queries", default="", metavar="FILE", help="CSV or Parquet with text, image or both; or one text a line")
    made.add_argument("--combine", action="store_true", help="look for --text and --image together: the mean of the two")
    made.add_argument("--prefix", default="", metavar="TEXT", help="put before every text (the paper: 'a photo of ')")
    made.add_argument("--top", type=POSITIVE, default=20, metavar="K", help="results of each query (default: 20)")
    made.add_argument("--frames", default=AUTO, choices=MODES, help="whether folders are videos (default: auto, by names)")
    rate = Bounded(float, above=0, below=10_000)
    made.add_argument("--fps", type=rate, default=0.0, metavar="X", help="frames a second: results say the time")
    made.add_argument("--one-per-video", action="store_true", help="only the best frame of each video")
    flags = made.parse_args(arguments)

    queries = read_queries(flags.text, flags.image, flags.queries, combine=flags.combine)
    folder = flags.index or files.join(flags.cache, "search")
    encoder = shared.encoder_of(flags)
    parts, left_out = find_parts(flags.images, folder)
    parameters = {
        "queries": [{"text": query.text, "image": hashlib.sha256(query.data).hexdigest() if query.image else None} for query in queries],
        "prefix": flags.prefix, "top": flags.top, "frames": flags.frames, "fps": flags.fps, "one_per_video": flags.one_per_video,
    }  # fmt: skip
    inputs = {"images": [[part.name, part.digest] for part in parts]}
    output = shared.open_output(flags, "search", parameters, inputs, encoder)
    if output is None:
        return 0

    index = build_index(encoder, parts, folder, flags.threads)
    vectors = embed_queries(encoder, queries, flags.prefix)
    nearest = index.nearest(vectors, flags.top, Videos(flags.frames) if flags.one_per_video else None)
    results, rows = rows_of(index, nearest, flags.frames, flags.fps)
    found = [
        {"text": query.text or None, "image": query.image or None, "results": one} for query, one in zip(queries, results)
    ]
    files.write_json(output.file("results.json"), {"pictures": len(index), "made_with": index.made_with, "queries": found})
    shown = {place for places in nearest.places[:QUERIES_ON_PAGE] for place in places[:ON_PAGE].tolist()}
    drops = {**left_out, **index.drops}
    lead = f"{len(index):,} pictures in {len(parts):,} parts searched; {sum(drops.values()):,} could not be used."
    pictures = read_pictures(index, rows, shown)
    files.write_bytes(output.file("report.html"), page(queries, nearest, results, pictures, lead))
    for query, one in zip(queries, results):
        print(f"{query.label}: {where(one[0])} ({one[0]['similarity']:.3f})")
    output.finish({"pictures": len(index), "parts": len(parts), "queries": len(queries)}, drops)
    return 0
