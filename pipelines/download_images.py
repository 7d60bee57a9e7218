"""Pairs to shards: downloads images politely and safely, resizes them, and writes tars that webdataset reads.

`python -m pipelines.download_images --help` lists the flags.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from pipelines.running import Running, parser, run
from wit_builder import images
from wit_builder.download.settings import PAIRS_PER_SHARD, FetchSettings, parse_host_map
from wit_builder.errors import UserError
from wit_builder.flags import LARGEST, Bounded
from wit_builder.parallel import loading


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage with these command-line arguments."""
    keep_little()
    with loading():
        running = Running(_parser(), arguments, workers_import="wit_builder.download.downloader")
        settings, rules = _settings(running.flags), _rules(running.flags)

        from pipelines import downloading  # brings Beam and Arrow, while the workers start

    downloading.run_stage(running, _parameters(running.flags), settings, rules)


def keep_little() -> None:
    """Make this process and the workers it starts hold on to less memory. To be called before Arrow is imported.

    Arrow's own allocator keeps 25 MB for tables of kilobytes, and glibc's some more for each thread.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    os.environ.setdefault("MALLOC_ARENA_MAX", "1")  # heeded by the workers alone


def _parser():
    example = "python -m pipelines.download_images --pairs balanced --output shards --contact you@example.org"
    made = parser("download_images", __doc__.split("\n")[0], example)
    add = made.add_argument
    add("--pairs", required=True, metavar="DIR", help="output of balance_pairs, or a folder or pattern of Parquet, CSV or TSV files")
    add("--url-column", default="", metavar="NAME", help="of such files (default: url, else URL)")
    add("--text-column", default="", metavar="NAME", help="default: text, else caption, else TEXT")
    add("--column-names", nargs="+", default=[], metavar="NAME", help="of all columns, for CSV and TSV files without a line of names")
    add("--save-columns", nargs="+", default=[], metavar="NAME", help="other columns that shards hold too, such as similarity")
    add("--output", required=True, metavar="DIR", help="folder for the shards; with a grown pool, only new pairs are added")

    def number(name, default, unit, meaning, least, most=LARGEST):
        """A flag for a number within bounds, its default shown."""
        kind = Bounded(type(default), least, most)
        add(name, type=kind, default=default, metavar=unit, help=f"{meaning} (default: {default:,})")

    rules, default = images.ImageRules(), FetchSettings()
    add = made.add_argument_group("what is stored").add_argument
    number("--image-size", rules.image_size, "PIXELS", "side, as the mode takes it", 1, 20_000)
    add("--resize-mode", choices=images.RESIZE_MODES, default=rules.resize_mode, help="as in img2dataset (default: %(default)s)")
    add("--resize-only-if-bigger", action="store_true", help="leave smaller images as they are")
    add("--encode-format", choices=sorted(images.ENCODE_FORMATS), default=rules.encode_format, help="(default: %(default)s)")
    number("--encode-quality", rules.quality, "1-100", "of JPEG and WebP", 1, 100)
    number("--min-image-size", rules.min_size, "PIXELS", "refuse images whose shorter side is below this", 0)
    number("--max-aspect-ratio", rules.max_aspect_ratio, "RATIO", "refuse longer images; 0: none", 0)
    number("--max-pixels", rules.max_pixels, "N", "refuse images with more, before decoding", 1)
    add("--save-exif", action="store_true", help="keep EXIF fields in the JSON files (never in images)")
    number("--pairs-per-shard", PAIRS_PER_SHARD, "N", "at most", 1, PAIRS_PER_SHARD)
    add = made.add_argument_group("manners (limits hold in each worker process)").add_argument
    add("--contact", default="", metavar="URL", help="URL or mail address in the user agent, for those whose hosts you visit")
    add("--user-agent", default=default.agent, metavar="TOKEN", help="product token (default: %(default)s)")
    number("--in-flight", default.in_flight, "N", "requests at once", 1)
    number("--host-connections", default.host_connections, "N", "requests to one host at once; 0: no limit", 0)
    number("--host-rate", default.host_rate, "N", "requests a second to one host; 0: no limit", 0)
    number("--max-wait", default.max_wait, "SECONDS", "longest Retry-After to wait for", 0)
    add("--retry-failed", action="store_true", help="also try again what failed for a transient reason in an earlier run")
    add("--ignore-robots", action="store_true", help="do not fetch or obey robots.txt")
    add("--ignore-opt-outs", action="store_true", help="do not honour X-Robots-Tag and tdm-reservation")
    add = made.add_argument_group("limits and safety").add_argument
    number("--timeout", default.timeout, "SECONDS", "for one image, over all its tries and redirects", 1)
    number("--retries", default.retries, "N", "after transient failures", 0)
    number("--max-bytes", default.max_bytes, "N", "of one body", 1)
    number("--max-redirects", default.max_redirects, "N", "for one image", 0)
    add("--allow-private-hosts", action="store_true", help="also connect to private and loopback addresses")
    add("--map-host", action="append", default=[], metavar="NAME:PORT=ADDRESS:PORT", help="connect there for this host; repeatable")
    number("--decode-threads", 2, "N", "in each worker process", 1)
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
    saved = {"save_columns": flags.save_columns} if flags.save_columns else {}  # folders made before it was there can still grow
    return {name: getattr(flags, name) for name in names} | saved


if __name__ == "__main__":
    run(main)
