"""Image-text pairs from web archives and pages."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import apache_beam as beam

from pipelines.running import Running, parser, run
from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.outputs import Output
from wit_builder.pairs.extract import Extract
from wit_builder.pairs.inputs import find_sources, make_tasks
from wit_builder.pairs.rules import TEXT_SOURCES
from wit_builder.pairs.spill import partitions_for
from wit_builder.pairs.transforms import ExtractPairs

EXAMPLE = "python -m pipelines.extract_pairs --input crawl/*.warc.gz --output pairs"


def main(arguments: Sequence[str] | None = None) -> int:
    flags = parser("extract_pairs", __doc__, EXAMPLE)
    flags.add_argument(
        "--input", required=True, nargs="+", metavar="PATTERN", help="WARC, WAT or HTML files, folders, or Common Crawl paths files"
    )
    flags.add_argument("--output", required=True, metavar="DIR", help="folder for pairs-*.parquet, report.html and manifest.json")
    flags.add_argument("--prefix", metavar="PATH", help="stands before each line of a paths file, for example s3://commoncrawl/")
    flags.add_argument("--base-url", metavar="URL", help="where loose pages were: a page's URL = this + its path below the input folder")
    flags.add_argument(
        "--text-sources", default="alt", metavar="LIST",
        help=f"of {','.join(TEXT_SOURCES)}; more than alt adds a column text_source (default: alt)",
    )
    flags.add_argument("--strict", action="store_true", help="stop at a broken record or a cut-off file; otherwise it is told and left out")
    running = Running(flags, arguments)
    chosen = running.flags
    text_sources = tuple(chosen.text_sources.split(","))
    if not set(text_sources) <= set(TEXT_SOURCES):
        raise UserError(f"--text-sources {chosen.text_sources}: unknown source", fix=f"choose of {','.join(TEXT_SOURCES)}")
    sources = find_sources(chosen.input, chosen.prefix)
    partitions = partitions_for(sum(source.bytes for source in sources))
    parameters = {"text_sources": list(text_sources), "base_url": chosen.base_url, "partitions": partitions}
    output = Output(chosen.output, "extract_pairs", parameters, [{"name": source.name, "bytes": source.bytes} for source in sources])
    if not output.begin(running.record()):
        print(f"{output.path} is whole already", file=sys.stderr)
        return 0
    extract = Extract(output.work, partitions, text_sources, chosen.base_url, chosen.strict)
    with running.pipeline() as pipeline:
        tasks = pipeline | "Tasks" >> beam.Create(make_tasks(sources))
        _ = tasks | "Extract pairs" >> ExtractPairs(output, extract, processes=running.processes)
    _tell(output)
    return 0


def _tell(output: Output) -> None:
    counts = files.read_json(output.file("manifest.json"))["counts"]
    print(f"{counts['pairs']:,} pairs from {counts['pages']:,} pages: {output.path}", file=sys.stderr)


if __name__ == "__main__":
    run(main)
