"""What a data set of so many pairs costs, stage by stage: arithmetic over assumptions, each with its source.

The chain runs backwards from the pairs that a finished data set holds: how many must be tried, how many must match some
query, how many image links must be read, how many WAT files hold them. Nothing here runs Beam.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Assumption:
    """One number that the estimate rests on.

    Attributes:
      name: in the code; the flag is the same with dashes.
      value: the default.
      unit: of the value.
      source: where the default comes from.
      is_share: whether it must be above 0 and at most 1.
    """

    name: str
    value: float
    unit: str
    source: str
    is_share: bool = False

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")


_MEASURED = "measured, docs/benchmarks.md"
_METACLIP = "MetaCLIP (Xu et al., 2023)"

ASSUMPTIONS = (
    # The chain of counts.
    Assumption("success", 0.85, "of the pairs tried", "img2dataset issue 277: 8,542 of 10,000, LAION-400M months after release", True),
    Assumption("kept", 0.25, "of the matching pairs", f"{_METACLIP}: 400 million of 1.6 billion at 20,000 a query", True),
    Assumption("matching", 0.5, "of the unique pairs", "assumed: about half of all alt texts contain a query", True),
    Assumption(
        "matching_a_link", 0.0042, "matching unique pairs an image link",
        f"{_METACLIP}: 1.6 billion English ones from 15 crawls of some 64,000 WAT files; few crawls repeat themselves less", True,
    ),
    Assumption("links_a_wat", 400_000, "image links with alt text a WAT file", "published for Common Crawl"),
    Assumption("wat_bytes", 313e6, "bytes a WAT file", "Common Crawl, February 2019: 18.23 TiB in 64,000 files"),
    # Query list.
    Assumption("wikipedia_bytes", 95e9, "bytes of XML", "English Wikipedia, pages-articles"),
    Assumption("wikipedia_ratio", 4, "bytes of XML a byte of bz2", "the sample dump of the tests"),
    Assumption("xml_rate", 3.2e6, "bytes of XML a core-second", f"{_MEASURED}, Query list"),
    Assumption("xml_shuffle", 0.35, "bytes spilled a byte of XML", f"{_MEASURED}, Estimates"),
    Assumption("query_bytes", 0.051, "bytes of lists and counts a byte of XML", f"{_MEASURED}, Estimates"),
    # Pairs.
    Assumption("wat_seconds", 26.3, "core-seconds a WAT file", f"{_MEASURED}, Estimates"),
    Assumption("link_shuffle", 163, "bytes spilled a link", f"{_MEASURED}, Estimates"),
    Assumption("pair_bytes", 86, "bytes a pair, stored", f"{_MEASURED}, Estimates"),
    # Balanced pairs.
    Assumption("balance_seconds", 5.5e-6, "core-seconds a pair of the pool", f"{_MEASURED}, Balancing"),
    Assumption("balance_shuffle", 63, "bytes spilled a pair of the pool", f"{_MEASURED}, Balancing"),
    Assumption("balanced_bytes", 108, "bytes a balanced pair, stored", f"{_MEASURED}, Estimates: 22 more than before"),
    # Shards.
    Assumption("image_seconds", 0.0095, "core-seconds an image", f"{_MEASURED}, Download: https"),
    Assumption("web_image_bytes", 114e3, "bytes an image on the web", f"{_MEASURED}, Download: the benchmark's images"),
    Assumption("request_bytes", 2000, "bytes sent a request", "assumed: TLS handshake, headers, acknowledgements"),
    Assumption("stored_image_bytes", 20e3, "bytes an image, stored", "published for images of 256 pixels"),
    Assumption("pairs_a_shard", 10_000, "pairs tried a shard", "docs/data-formats.md"),
    # Overlaps.
    Assumption("embed_seconds", 0.313, "core-seconds an image", f"{_MEASURED}, Estimates: ResNet-50 on the CPU"),
    Assumption("embedding_bytes", 1060, "bytes an image", "512 numbers of 2 bytes and a key of 32, docs/data-formats.md"),
    # To where the trainer is.
    Assumption("copies_out", 1, "copies of the shards that leave the cloud", "assumed: the trainer is elsewhere"),
)


@dataclass(frozen=True)
class Prices:
    """Money for what a stage uses, in any currency; 0 for what costs nothing.

    Attributes:
      core_hour: of one core for an hour.
      gb_month: of a GB (1e9 bytes) stored for a month.
      gb_shuffle: of a GB spilled: written, kept while the stage runs, read.
      gb_egress: of a GB that leaves.
      months: for which outputs are kept.
    """

    core_hour: float = 0.0
    gb_month: float = 0.0
    gb_shuffle: float = 0.0
    gb_egress: float = 0.0
    months: float = 1.0

    @property
    def any(self) -> bool:
        return any((self.core_hour, self.gb_month, self.gb_shuffle, self.gb_egress))


@dataclass(frozen=True)
class StageCost:
    """What one stage uses; bytes, unless said.

    Attributes:
      stage: name of the pipeline, or what else happens.
      units, unit: how much work it is, and of what.
      core_hours: hours of one core.
      reads: comes in, from storage or the web.
      shuffle: written to spill files and read again.
      stores: stays when the stage has ended.
      egress: leaves.
    """

    stage: str
    units: float
    unit: str
    core_hours: float = 0.0
    reads: float = 0.0
    shuffle: float = 0.0
    stores: float = 0.0
    egress: float = 0.0

    def money(self, prices: Prices) -> float:
        """What it costs, in the prices' currency."""
        gigabytes = self.stores * prices.gb_month * prices.months + self.shuffle * prices.gb_shuffle + self.egress * prices.gb_egress
        return self.core_hours * prices.core_hour + gigabytes / 1e9


def defaults() -> dict[str, float]:
    """The assumptions' values by name."""
    return {assumption.name: assumption.value for assumption in ASSUMPTIONS}


def estimate(pairs: float, given: Mapping[str, float]) -> list[StageCost]:
    """The stages of a data set that holds `pairs` images with their texts, in order.

    Args:
      pairs: in the finished shards.
      given: a value for each of `ASSUMPTIONS`, by name.
    """
    tried = pairs / given["success"]
    matching = tried / given["kept"]
    pool = matching / given["matching"]
    links = matching / given["matching_a_link"]
    wats = links / given["links_a_wat"]
    xml = given["wikipedia_bytes"]
    shards = pairs * given["stored_image_bytes"]
    return [
        StageCost(
            "build_queries", xml / 1e9, "GB of XML",
            core_hours=xml / given["xml_rate"] / 3600,
            reads=xml / given["wikipedia_ratio"],
            shuffle=xml * given["xml_shuffle"],
            stores=xml * given["query_bytes"],
        ),
        StageCost(
            "extract_pairs", wats, "WAT files",
            core_hours=wats * given["wat_seconds"] / 3600,
            reads=wats * given["wat_bytes"],
            shuffle=links * given["link_shuffle"],
            stores=pool * given["pair_bytes"],
        ),
        StageCost(
            "balance_pairs", pool, "pairs",
            core_hours=pool * given["balance_seconds"] / 3600,
            reads=pool * given["pair_bytes"],
            shuffle=pool * given["balance_shuffle"],
            stores=tried * given["balanced_bytes"],
        ),
        StageCost(
            "download_images", tried / given["pairs_a_shard"], "shards",
            core_hours=pairs * given["image_seconds"] / 3600,
            reads=pairs * given["web_image_bytes"],
            stores=shards,
            egress=tried * given["request_bytes"],
        ),
        StageCost(
            "find_overlaps", pairs, "images",
            core_hours=pairs * given["embed_seconds"] / 3600,
            reads=shards,
            stores=pairs * given["embedding_bytes"],
        ),
        StageCost("to the trainer", given["copies_out"], "copies", reads=shards * given["copies_out"], egress=shards * given["copies_out"]),
    ]  # fmt: skip


def total(stages: Sequence[StageCost]) -> StageCost:
    """The sum of all stages; units have none."""
    sums = {field.name: sum(getattr(stage, field.name) for stage in stages) for field in fields(StageCost)[3:]}
    return StageCost("all", 0, "", **sums)
