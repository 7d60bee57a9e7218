"""What the user is told at the end: the table of reasons, a warning where too little was saved, and `report.html`."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from PIL import Image

from wit_builder import files, report
from wit_builder.download.summary import ASPECT_EDGES, SIDE_EDGES, Summary, host_of, reason_table
from wit_builder.hashing import hash64
from wit_builder.shards import SUCCESS, ShardPaths, find_shards, read_image
from wit_builder.tables import read_table

GALLERY = 48  # images
_GALLERY_SHARDS = 12
_THUMBNAIL = 224  # pixels

LOW_SUCCESS = 0.5
_FEW = 20  # pairs: below this no rate is suspicious

_HINTS = (
    ("private_address", "these names lead to private addresses: pass --allow-private-hosts only if the hosts are yours"),
    ("dns_", "names cannot be looked up: is the name server reachable, and quick enough?"),
    ("tls_error", "certificates are not trusted: set SSL_CERT_FILE where the system has no store"),
    ("connection_refused", "nothing listens there: is a proxy or firewall in the way?"),
    ("connect", "connections fail: is the network up? fewer --in-flight may help"),
    ("timeout", "answers take too long: try a longer --timeout or fewer --in-flight"),
    ("robots_txt_unreachable", "hosts fail on robots.txt: try again later with --retry-failed"),
    ("robots_txt_forbids", "the hosts' robots.txt forbids our agent"),
    ("opt_out", "the owners have opted out"),
    ("http_429", "hosts find us too eager: lower --host-rate, then --retry-failed"),
    ("http_403", "hosts refuse us: say who you are with --contact"),
    ("http_404", "the images are gone: the pairs may be old"),
    ("http_5", "hosts are in trouble: try again later with --retry-failed"),
    ("html_not_image", "pages come in place of images: are these the images' own URLs?"),
)


def describe(summary: Summary) -> list[str]:
    """Lines for the user: totals, then the reasons with the hosts where they were met most."""
    counts = summary["counts"]
    tried, saved = counts.get("pairs_tried", 0), counts.get("images_saved", 0)
    share = f" ({saved / tried:.1%})" if tried else ""
    lines = [f"{saved:,} of {tried:,} images saved{share} in {report.counted(counts.get('shards', 0), 'shard')}"]
    table = reason_table(summary)
    width = max((len(row[0]) for row in table), default=0)
    return lines + [f"  {reason:<{width}}  {number:>9,}  {share:>6.1%}  {_plain(hosts)}" for reason, number, share, hosts in table]


def warning(summary: Summary) -> str | None:
    """A line where suspiciously few images were saved, with the most likely cause."""
    counts = summary["counts"]
    tried, saved = counts.get("pairs_tried", 0), counts.get("images_saved", 0)
    if tried < _FEW or saved >= LOW_SUCCESS * tried:
        return None
    reason, number, _, hosts = reason_table(summary, hosts=1)[0]
    hint = next((hint for prefix, hint in _HINTS if reason.startswith(prefix)), "see report.html for the hosts")
    return f"warning: only {saved / tried:.1%} of the images were saved; {number:,} failed with {reason}, most at {_plain(hosts)}: {hint}"


def _plain(text: str) -> str:
    """Text from the web without control characters, for a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def page(summary: Summary, folder: str) -> bytes:
    """`report.html`: counts, reasons, histograms of the originals, and a gallery of samples chosen by their hash."""
    counts = summary["counts"]
    tried, saved = counts.get("pairs_tried", 0), counts.get("images_saved", 0)
    reasons = report.Section("Why the others were not saved", "With the hosts where each reason was met most.")
    reasons.table(["reason", "pairs", "share", "hosts"], [(r, n, f"{share:.2%}", hosts) for r, n, share, hosts in reason_table(summary)])
    sizes = report.Section("Sizes and shapes of the images as they were downloaded")
    _histogram(sizes, SIDE_EDGES, summary["original_sides"], "shorter side, pixels")
    _histogram(sizes, ASPECT_EDGES, summary["original_aspects"], "width / height")
    shards = report.counted(counts.get("shards", 0), "shard")
    lead = f"{saved:,} of {tried:,} images saved in {shards}, {counts.get('tar_bytes', 0) / 1e6:,.1f} MB of tar."
    gallery = report.Section("Samples", "Chosen at random (by a hash), as they are stored, with their texts.")
    if saved:
        for image, text, host in _samples(find_shards(folder)):
            gallery.image(image, f"{text} ({host})")
    return report.render("Downloaded images", [reasons, sizes, gallery] if summary["drops"] else [sizes, gallery], lead)


def _histogram(section: report.Section, edges: Sequence[float], numbers: Sequence[int], label: str) -> None:
    used = [index for index, number in enumerate(numbers) if number]
    if not used:
        return
    shown = slice(used[0], used[-1] + 1)
    labels = [f"{low:g} to {high:g}" for low, high in zip(edges, edges[1:])] + [f"{edges[-1]:g} and more"]
    section.bar_chart(f"images by {label}", labels[shown], numbers[shown])


def _samples(shards: Sequence[ShardPaths]) -> list[tuple[bytes, str, str]]:
    """Thumbnail (JPEG), text and host of some images, from some of the shards."""
    chosen = sorted(sorted(shards, key=lambda shard: hash64("gallery", shard.name))[:_GALLERY_SHARDS])
    found = []
    for shard in chosen:
        rows = [row for row in read_table(shard.parquet).to_pylist() if row["status"] == SUCCESS]
        rows = sorted(rows, key=lambda row: hash64("gallery", row["uid"]))[: math.ceil(GALLERY / len(chosen))]
        with files.open_read(shard.tar) as tar:
            for row in rows:
                image = read_image(tar, row["tar_offset"], row["tar_size"])
                found.append((_thumbnail(image), row["caption"], host_of(row["url"])))
    return found


def _thumbnail(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        image.thumbnail((_THUMBNAIL, _THUMBNAIL))
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
