"""`python -m pipelines`: which stages there are, in their order."""

from __future__ import annotations

STAGES = {
    "build_queries": "Wikipedia, page views and WordNet to the query list",
    "extract_pairs": "WARC, WAT or HTML to pairs of image URL and text",
    "balance_pairs": "pairs that match a query, at most a cap for each",
    "download_images": "pairs, or any table of URLs, to shards of images",
    "find_overlaps": "training images that are near-duplicates of evaluation images",
    "clip_baseline": "a CLIP model measured as a near-duplicate detector",
    "estimate": "what a data set of some size costs",
    "demo": "all of it on a small made world, offline",
    "local_engine": "Beam's job service and workers on this machine, to try an engine",
}


def usage() -> str:
    """What `python -m pipelines` prints."""
    width = max(map(len, STAGES))
    lines = [f"  {name:{width}}  {what}" for name, what in STAGES.items()]
    also = "Beside these: python -m dedup (detector, overlap report), trainer (CLIP), python -m sample_world (a world to try with)."
    return "\n".join(["usage: python -m pipelines.STAGE …", "", *lines, "", "python -m pipelines.STAGE --help says more.", also])


if __name__ == "__main__":
    print(usage())
