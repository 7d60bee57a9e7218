"""Pairs to shards: downloads images politely and safely, resizes them, and writes tars that webdataset reads.

`python -m pipelines.download_images --help` lists the flags.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

import apache_beam as beam

from pipelines.running import Running, parser, run
from wit_builder import files, images
from wit_builder.download import report
from wit_builder.download.live import live_line, tell_total
from wit_builder.download.plan import find_pairs, is_damaged, make_plan
from wit_builder.download.planned import Folders
from wit_builder.download.settings import FetchSettings, parse_host_map
from wit_builder.download.summary import top_hosts
from wit_builder.download.transforms import DownloadImages
from wit_builder.download.work import DownloadShards, keep_little
from wit_builder.errors import UserError
from wit_builder.outputs import MANIFEST, Output, describe_inputs, sha256_of
from wit_builder.parallel import close_pool, start_pool
from wit_builder.shards import MAX_ROWS
from wit_builder.transforms import Finish


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage with these command-line arguments."""
    running = Running(_parser(), arguments)
    flags = running.flags
    keep_little()
    settings, rules = _settings(flags), _rules(flags)
    pairs = find_pairs(flags.pairs)
    inputs = [{**described, "sha256": sha256_of(path)} for described, path in zip(describe_inputs(pairs), pairs)]
    output = Output(flags.output, "download_images", _parameters(flags), inputs)
    is_whole = not output.begin(running.record(), may_grow=True)
    if is_whole and not flags.retry_failed and not is_damaged(output.path, files.read_json(output.file(MANIFEST))["counts"]["shards"]):
        print(f"{output.path} is whole already", file=sys.stderr)
    else:
        with live_line() as live_folder:
            plan = partial(_plan, pairs=pairs, output=output, flags=flags, live_folder=live_folder)
            work = DownloadShards(_folders(output, flags), settings, rules, flags.decode_threads, live_folder)
            start_pool(running.processes, "wit_builder.download.downloader")
            with running.pipeline() as pipeline:
                start = pipeline | beam.Create([None])
                _ = start | DownloadImages(plan, work, running.processes) | Finish(partial(_finish, output=output))
    summary = files.read_json(output.file(MANIFEST))
    print("\n".join(report.describe(summary)))
    if warning := report.warning(summary):
        print(warning, file=sys.stderr)


def _folders(output: Output, flags) -> Folders:
    return Folders(output.path, output.work, flags.retry_failed)


def _plan(_, *, pairs, output, flags, live_folder):
    plan = make_plan(pairs, output.inputs, _folders(output, flags), flags.pairs_per_shard)
    files.remove(output.file(MANIFEST))  # what is there is not whole any longer
    tell_total(live_folder, plan.pairs)
    return plan


def _finish(summary, *, output):
    close_pool()  # the report needs memory of its own: give the workers' back first
    files.write_bytes(output.file("report.html"), report.page(summary, output.path))
    output.finish(summary["counts"], summary["drops"], hosts=top_hosts(summary))


def _parser():
    example = "python -m pipelines.download_images --pairs balanced --output shards --contact you@example.org"
    made = parser("download_images", __doc__.split("\n")[0], example)
    add = made.add_argument
    add("--pairs", required=True, metavar="DIR", help="output of balance_pairs, or Parquet files with url and text columns")
    add("--output", required=True, metavar="DIR", help="folder for the shards; with a grown pool, only new pairs are added")

    def number(name, default, unit, meaning):
        """A flag for a number, its default shown."""
        add(name, type=type(default), default=default, metavar=unit, help=f"{meaning} (default: {default:g})")

    rules, default = images.ImageRules(), FetchSettings()
    add = made.add_argument_group("what is stored").add_argument
    number("--image-size", rules.image_size, "PIXELS", "side, as the mode takes it")
    add("--resize-mode", choices=images.RESIZE_MODES, default=rules.resize_mode, help="as in img2dataset (default: %(default)s)")
    add("--resize-only-if-bigger", action="store_true", help="leave smaller images as they are")
    add("--encode-format", choices=sorted(images.ENCODE_FORMATS), default=rules.encode_format, help="(default: %(default)s)")
    number("--encode-quality", rules.quality, "1-100", "of JPEG and WebP")
    number("--min-image-size", rules.min_size, "PIXELS", "refuse images whose shorter side is below this")
    number("--max-aspect-ratio", rules.max_aspect_ratio, "RATIO", "refuse longer images; 0: none")
    number("--max-pixels", rules.max_pixels, "N", "refuse images with more, before decoding")
    add("--save-exif", action="store_true", help="keep EXIF fields in the JSON files (never in images)")
    number("--pairs-per-shard", MAX_ROWS, "N", "at most 10000")
    add = made.add_argument_group("manners (limits hold in each worker process)").add_argument
    add("--contact", default="", metavar="URL", help="URL or mail address in the user agent, for those whose hosts you visit")
    add("--user-agent", default=default.agent, metavar="TOKEN", help="product token (default: %(default)s)")
    number("--in-flight", default.in_flight, "N", "requests at once")
    number("--host-connections", default.host_connections, "N", "requests to one host at once; 0: no limit")
    number("--host-rate", default.host_rate, "N", "requests a second to one host; 0: no limit")
    number("--max-wait", default.max_wait, "SECONDS", "longest Retry-After to wait for")
    add("--retry-failed", action="store_true", help="also try again what failed for a transient reason in an earlier run")
    add("--ignore-robots", action="store_true", help="do not fetch or obey robots.txt")
    add("--ignore-opt-outs", action="store_true", help="do not honour X-Robots-Tag and tdm-reservation")
    add = made.add_argument_group("limits and safety").add_argument
    number("--timeout", default.timeout, "SECONDS", "for one image, over all its tries and redirects")
    number("--retries", default.retries, "N", "after transient failures")
    number("--max-bytes", default.max_bytes, "N", "of one body")
    number("--max-redirects", default.max_redirects, "N", "for one image")
    add("--allow-private-hosts", action="store_true", help="also connect to private and loopback addresses")
    add("--map-host", action="append", default=[], metavar="NAME:PORT=ADDRESS:PORT", help="connect there for this host; repeatable")
    number("--decode-threads", 2, "N", "in each worker process")
    return made


def _settings(flags) -> FetchSettings:
    host_map = parse_host_map(flags.map_host)
    if not (flags.contact or flags.allow_private_hosts or host_map):
        raise UserError("--contact is missing: those whose hosts you visit must be able to reach you", fix="--contact you@example.org")
    return FetchSettings(
        agent=flags.user_agent,
        contact=flags.contact,
        in_flight=flags.in_flight,
        timeout=flags.timeout,
        retries=flags.retries,
        max_bytes=flags.max_bytes,
        max_redirects=flags.max_redirects,
        host_connections=flags.host_connections,
        host_rate=flags.host_rate,
        max_wait=flags.max_wait,
        obey_robots=not flags.ignore_robots,
        obey_opt_outs=not flags.ignore_opt_outs,
        allow_private=flags.allow_private_hosts,
        host_map=host_map,
    )


def _rules(flags) -> images.ImageRules:
    return images.ImageRules(
        image_size=flags.image_size,
        resize_mode=flags.resize_mode,
        only_if_bigger=flags.resize_only_if_bigger,
        quality=flags.encode_quality,
        encode_format=flags.encode_format,
        min_size=flags.min_image_size,
        max_aspect_ratio=flags.max_aspect_ratio,
        max_pixels=flags.max_pixels,
        save_exif=flags.save_exif,
    )


def _parameters(flags) -> dict:
    """What decides which images are stored, and how. Speeds, time limits and addresses of the network do not."""
    names = (
        "image_size", "resize_mode", "resize_only_if_bigger", "encode_format", "encode_quality", "min_image_size", "max_aspect_ratio",
        "max_pixels", "save_exif", "pairs_per_shard", "max_bytes", "ignore_robots", "ignore_opt_outs",
    )  # fmt: skip
    return {name: getattr(flags, name) for name in names}


if __name__ == "__main__":
    run(main)
