"""The download stage once its flags are read: plan, shards, report. `pipelines.download_images` is its command."""

from __future__ import annotations

import sys
from functools import partial

import apache_beam as beam

from pipelines.running import Running
from wit_builder import files
from wit_builder.download import report
from wit_builder.download.live import live_line, tell_total
from wit_builder.download.plan import is_damaged, make_plan
from wit_builder.download.planned import Folders
from wit_builder.download.pool import PairColumns, find_pairs, planned_schema
from wit_builder.download.settings import FetchSettings
from wit_builder.download.summary import top_hosts
from wit_builder.download.transforms import DownloadImages
from wit_builder.download.work import DownloadShards
from wit_builder.images import ImageRules
from wit_builder.outputs import MANIFEST, Output, describe_inputs, sha256_of
from wit_builder.parallel import close_pool
from wit_builder.transforms import Finish


def run_stage(running: Running, parameters: dict, settings: FetchSettings, rules: ImageRules) -> None:
    """Bring the output folder to its end and say what is in it.

    Args:
      running: the flags, and how the pipeline runs.
      parameters: what decides which images are stored, and how, for run.json.
      settings, rules: see their classes.
    """
    flags = running.flags
    columns = PairColumns(flags.url_column, flags.text_column, tuple(flags.column_names), tuple(flags.save_columns))
    pairs = find_pairs(flags.pairs, columns)
    planned_schema(pairs, columns)  # names that cannot be are told before the folder is claimed
    inputs = [{**described, "sha256": sha256_of(path), **columns.chosen()} for described, path in zip(describe_inputs(pairs), pairs)]
    output = Output(flags.output, "download_images", parameters, inputs)
    is_whole = not output.begin(running.record(), may_grow=True)
    if is_whole and not flags.retry_failed and not is_damaged(output.path, files.read_json(output.file(MANIFEST))["counts"]["shards"]):
        print(f"{output.path} is whole already", file=sys.stderr)
    else:
        with live_line() as live_folder:
            plan = partial(_plan, pairs=pairs, columns=columns, output=output, flags=flags, live_folder=live_folder)
            work = DownloadShards(_folders(output, flags), settings, rules, flags.decode_threads, live_folder)
            with running.pipeline() as pipeline:
                start = pipeline | beam.Create([None])
                _ = start | DownloadImages(plan, work, running.processes) | Finish(partial(_finish, output=output))
    summary = files.read_json(output.file(MANIFEST))
    print("\n".join(report.describe(summary)))
    if warning := report.warning(summary):
        print(warning, file=sys.stderr)


def _folders(output: Output, flags) -> Folders:
    return Folders(output.path, output.work, flags.retry_failed)


def _plan(_, *, pairs, columns, output, flags, live_folder):
    plan = make_plan(pairs, output.inputs, _folders(output, flags), flags.pairs_per_shard, columns)
    files.remove(output.file(MANIFEST))  # what is there is not whole any longer
    tell_total(live_folder, plan.pairs)
    return plan


def _finish(summary, *, output):
    close_pool()  # the report needs memory of its own: give the workers' back first
    files.write_bytes(output.file("report.html"), report.page(summary, output.path))
    output.finish(summary["counts"], summary["drops"], hosts=top_hosts(summary))
