"""`trainer geolocation`: where pictures were taken, guessed from the nearest reference pictures (the paper's appendix E.4, IM2GPS)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from learning.vectors import unit_length
from trainer.evaluate import flags as shared
from trainer.evaluate.coordinates import bounds, densest, distance_km
from trainer.evaluate.located import Located, Source, locate
from trainer.evaluate.metrics import rate
from trainer.evaluate.nearest import Nearest, rows_at_a_time
from trainer.evaluate.page_parts import percent, with_interval
from wit_builder import files, tables
from wit_builder.errors import UserError
from wit_builder.flags import POSITIVE, Bounded
from wit_builder.hashing import hash64
from wit_builder.outputs import sha256_of
from wit_builder.progress import progress
from wit_builder.report import Section, render

RADII = (1, 25, 200, 750, 2500)  # km: street, city, region, country, continent
QUERIES = 16_384  # that one pass over the references serves
ON_MAP = 200
COPY = 0.999  # cosine from which a reference is told as a copy of the query
GUESSES = pa.schema([
    ("key", pa.string()),
    ("latitude", pa.float64()),
    ("longitude", pa.float64()),
    ("guessed_latitude", pa.float64()),
    ("guessed_longitude", pa.float64()),
    ("distance_km", pa.float64()),
    ("reference", pa.string()),  # key of the reference whose place was taken
    ("similarity", pa.float32()),  # its cosine
])


def neighbours(references: Located, queries: Located, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest references of each query by cosine, nearest first: places int64 [q, k] and cosines float32 [q, k]."""
    vectors = np.concatenate([batch.astype(np.float16) for batch in queries.batches()])  # [q, e]
    places, cosines = [], []
    with progress("comparing", len(references) * -(-len(vectors) // QUERIES), "image") as line:
        for start in range(0, len(vectors), QUERIES):
            some = vectors[start : start + QUERIES].astype(np.float32)
            found = Nearest(unit_length(some), count)
            first, step = 0, rows_at_a_time(len(some))
            for batch in references.batches():
                for at in range(0, len(batch), step):
                    found.add(batch[at : at + step], first + at)
                first += len(batch)
                line.update(len(batch))
            places.append(np.stack(found.places))
            cosines.append(np.stack(found.cosines))
    return np.concatenate(places), np.concatenate(cosines)


def summary(distances: np.ndarray, references: np.ndarray, queries: np.ndarray, guesses: np.ndarray, keys: Sequence[str]) -> dict[str, Any]:
    """Numbers for metrics.json.

    Args:
      distances: of each guess from the truth, km, float64 [q].
      references: places in degrees, float64 [n, 2].
      queries: true places, float64 [q, 2].
      guesses: float64 [q, 2].
      keys: of the queries; a salted hash of them chooses those on the map.
    """
    chance, reachable = bounds(references, queries, RADII)
    chosen = sorted(range(len(keys)), key=lambda number: hash64("map", keys[number]))[:ON_MAP]
    return {
        "references": len(references),
        "queries": len(queries),
        "within_km": {str(radius): rate(np.count_nonzero(distances <= radius), len(distances)) for radius in RADII},
        "chance": {str(radius): float(share) for radius, share in zip(RADII, chance)},
        "best_possible": {str(radius): float(number) / len(queries) for radius, number in zip(RADII, reachable)},
        "median_km": float(np.median(distances)),
        "mean_km": float(np.mean(distances)),
        "quantiles_km": np.quantile(distances, np.linspace(0, 1, 101)).tolist(),
        "map": [[*queries[number].tolist(), *guesses[number].tolist()] for number in chosen],
    }


def sections(found: Mapping[str, Any]) -> list[Section]:
    """The page's part: rates within each radius, the distribution of distances, a map."""
    section = Section(
        "Geolocation",
        f"{found['queries']:,} pictures placed by {found['references']:,} references; median error {found['median_km']:,.1f} km."
        " Chance is a reference taken at random, best possible the nearest on the Earth."
        + (f" {found['near_copies']:,} pictures have a reference of a cosine from {COPY} on." if found["near_copies"] else ""),
    )

    def draw_distances(figure: Any) -> None:
        axes = figure.subplots()
        axes.plot(np.maximum(found["quantiles_km"], 0.1), np.linspace(0, 100, 101), color="#4c78a8", label="guesses")
        for name, style, colour in (("best_possible", "^", "#54a24b"), ("chance", "v", "#e45756")):
            axes.plot(RADII, [100 * found[name][str(radius)] for radius in RADII], style, color=colour, label=name.replace("_", " "))
        for radius in RADII:
            axes.axvline(radius, color="#d6dce3", linewidth=1, zorder=0)
        axes.set_xscale("log")
        axes.set_xlim(0.1, 21_000)
        axes.set_ylim(-2, 102)
        axes.set_xlabel("distance of the guess from the truth, km (0.1 and below at the edge)")
        axes.set_ylabel("pictures within, per cent")
        axes.legend(loc="upper left")

    def draw_map(figure: Any) -> None:
        axes = figure.subplots()
        points = np.array(found["map"])
        for latitude, longitude, guessed_latitude, guessed_longitude in points.tolist():
            if abs(longitude - guessed_longitude) <= 180:  # a line across the whole map would be the longer way round
                axes.plot([longitude, guessed_longitude], [latitude, guessed_latitude], color="#9aa5b1", linewidth=0.5, zorder=1)
        axes.plot(points[:, 1], points[:, 0], "o", color="#54a24b", markersize=3, label="truth")
        axes.plot(points[:, 3], points[:, 2], "x", color="#e45756", markersize=3, label="guess")
        axes.set(xlim=(-180, 180), ylim=(-90, 90), xlabel="longitude, degrees", ylabel="latitude, degrees")
        axes.set_xticks(range(-180, 181, 60))
        axes.set_yticks(range(-90, 91, 30))
        axes.grid(color="#e8ecf0")
        axes.legend(loc="lower left")

    section.plot(draw_distances, alt="Share of pictures by the distance of the guess from the truth")
    section.plot(draw_map, alt=f"True and guessed places of {len(found['map'])} pictures", height=4.4)
    section.table(
        ["within km", "pictures", "per cent", "low", "high", "chance", "best possible"],
        [
            [
                int(radius), one["total"], *with_interval(one), percent(found["chance"][radius]), percent(found["best_possible"][radius]),
            ]
            for radius, one in sorted(found["within_km"].items(), key=lambda item: int(item[0]))
        ],
    )  # fmt: skip
    return [section]


def main(arguments: Sequence[str] | None = None) -> int:
    made = shared.command_parser(
        "geolocation",
        "Guess where pictures were taken: the place of the most similar reference picture. Writes metrics.json, the guesses and a page.",
        "trainer geolocation --checkpoint model.safetensors --reference shards --reference-table places.parquet --images im2gps"
        " --table im2gps.csv --output results",
    )
    shared.add_model_flags(made, optional=True)
    pictures = "pictures, shards, patterns of tars; or one Parquet file with key and embedding"
    made.add_argument("--reference", required=True, nargs="+", metavar="PATH", help=pictures)
    made.add_argument("--reference-table", default="", metavar="FILE", help="CSV or Parquet: key, latitude, longitude (or KEY.json's)")
    made.add_argument("--images", required=True, nargs="+", metavar="PATH", help="what is to be placed: likewise")
    made.add_argument("--table", default="", metavar="FILE", help="their true places: likewise")
    made.add_argument("--index", default="", metavar="DIR", help="where embeddings are kept, as of trainer search (default: in the cache)")
    made.add_argument("--neighbours", type=POSITIVE, default=1, metavar="K", help="take the densest of K neighbours (default: 1)")
    kilometres = Bounded(float, above=0, below=100_000)
    made.add_argument("--bandwidth", type=kilometres, default=10.0, metavar="KM", help="of the density of neighbours (default: 10)")
    flags = made.parse_args(arguments)

    folder = flags.index or files.join(flags.cache, "search")
    sources = [Source.find(paths, folder) for paths in (flags.reference, flags.images)]
    if not flags.checkpoint and not all(source.file for source in sources):
        raise UserError("pictures need a model", where="--checkpoint", fix="give one, or Parquet files with key and embedding")
    if flags.checkpoint and all(source.file for source in sources):
        raise UserError("nothing is left to embed", where="--checkpoint", fix="leave it out")
    encoder = shared.encoder_of(flags) if flags.checkpoint else None
    given = [flags.reference_table, flags.table]
    parameters = {"neighbours": flags.neighbours, "bandwidth_km": flags.bandwidth if flags.neighbours > 1 else None}
    inputs = {
        name: {"pictures": source.identity, "table": sha256_of(table) if table else None}
        for name, source, table in zip(("reference", "queries"), sources, given)
    }
    output = shared.open_output(flags, "geolocation", parameters, inputs, encoder)
    if output is None:
        return 0

    references, queries = (locate(source, table, encoder, folder, flags.threads) for source, table in zip(sources, given))
    if references.width != queries.width:
        widths = f"references have vectors of {references.width} numbers, pictures of {queries.width}"
        raise UserError(widths, where=" ".join(flags.images), fix="take one model for both")
    places, cosines = neighbours(references, queries, flags.neighbours)
    rows = np.arange(len(queries))
    taken = densest(references.places[places], flags.bandwidth) if flags.neighbours > 1 else np.zeros(len(queries), np.int64)
    reference = places[rows, taken]
    guesses = references.places[reference]
    distances = distance_km(queries.places, guesses)
    found = summary(distances, references.places, queries.places, guesses, queries.keys.to_pylist())
    found["near_copies"] = int(np.count_nonzero(cosines[:, 0] >= COPY))
    columns = [
        queries.keys, *queries.places.T, *guesses.T, distances, references.keys.take(pa.array(reference)), cosines[rows, taken],
    ]  # fmt: skip
    guessed = pa.table(columns, names=GUESSES.names).cast(GUESSES)
    tables.write_table(output.file(tables.numbered("guesses", 0, 1)), guessed, sort_by=["key"])
    files.write_json(output.file("metrics.json"), found)
    files.write_bytes(output.file("report.html"), render("Geolocation", sections(found)))
    told = ", ".join(f"{radius} km {100 * one['value']:.1f}%" for radius, one in found["within_km"].items())
    print(f"{len(queries):,} pictures, {len(references):,} references: within {told}; median {found['median_km']:,.1f} km")
    named = {"reference": references, "query": queries}
    drops = {f"{name}: {reason}": number for name, one in named.items() for reason, number in one.drops.items()}
    counts = {"references": len(references), "queries": len(queries)}
    counts |= {f"rows of the {name} table without a picture": one.unmatched for name, one in named.items()}
    output.finish(counts, drops)
    return 0
