import bz2
import gzip
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queries.parts import Part, chunks, lines, plan
from queries.titles import ReadViews, decode_title, merge_views, parse_line, title_key, title_query
from wit_builder.errors import UserError


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"en Dog 12 0", (b"Dog", 12)),
        (b"en.m Dog 3 0", (b"Dog", 3)),
        (b"en.zero Dog 3 0", (b"Dog", 3)),
        (b"en.b Dog 3 0", None),
        (b"de Dog 3 0", None),
        (b"en.wikipedia Dog 4269567 desktop 7 A3B4", (b"Dog", 7)),
        (b"en.wikipedia Dog null mobile-web 7 A3B4", (b"Dog", 7)),
        (b"en.wikipedia Dog 4269567 mobile-app 7 A3B4", (b"Dog", 7)),
        (b"en.wiktionary Dog 1 desktop 7 A7", None),
        (b"en.wikipedia Dog 1 elsewhere 7 A7", None),
        (b"en Dog -3 0", None),
        (b"en Dog many 0", None),
        (b"en Dog 99999999999999999999 0", None),
        (b"", None),
        (b"\xff\xfe \x00", None),
    ],
)
def test_lines_of_both_formats(line, expected):
    assert parse_line(line, "en.wikipedia") == expected


@pytest.mark.parametrize(
    ("encoded", "title"),
    [
        (b"Golden_Gate_Bridge", "Golden Gate Bridge"),
        (b"caf%C3%A9", "Café"),
        ("Zoë".encode(), "Zoë"),
        (b"100%25_wool", "100% wool"),
        (b"50%_off", "50% off"),
        (b"%FF%FE", None),
        (b"_", None),
        (b"x" * 256, None),
    ],
)
def test_titles_are_decoded(encoded, title):
    assert decode_title(encoded) == title


def test_disambiguation_is_no_part_of_a_query():
    assert title_query("Mercury (disambiguation)") == "Mercury" and title_query("Mercury (planet)") == "Mercury (planet)"
    assert title_key("AC/DC (Disambiguation)") == "ac dc"


def test_views_add_up_by_normal_form_and_only_articles_count():
    views = {"Mercury (disambiguation)": 5, "Mercury": 9, "MERCURY": 2, "Unknown": 99, "!!!": 50, "Special:Search": 7}
    rows, counts = merge_views(views, {"Mercury", "Mercury (disambiguation)", "MERCURY", "!!!"})
    assert rows == [("Mercury", 16)]
    assert counts == {"drop: viewed title is no article": 2, "drop: title without a word": 1, "titles": 1}
    rows, counts = merge_views(views, None)
    assert rows == [("Unknown", 99), ("Mercury", 16)] and counts["drop: viewed title is no article"] == 1


def in_streams(content: bytes) -> bytes:
    """bz2 with a stream, and so a block, for every 50 bytes."""
    return b"".join(bz2.compress(content[start : start + 50]) for start in range(0, max(len(content), 1), 50))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("ab", max_size=60), max_size=60), st.integers(1, 900), st.sampled_from(["", ".bz2", ".gz"]), st.booleans())
def test_every_line_is_read_once_however_the_file_is_cut(tmp_path_factory, texts, step, suffix, ended):
    content = "\n".join(texts).encode() + (b"\n" if ended and texts else b"")
    path = tmp_path_factory.mktemp("lines") / f"views{suffix}"
    path.write_bytes({"": bytes, ".bz2": in_streams, ".gz": gzip.compress}[suffix](content))
    found = [line for part in plan(str(path), step) for line in lines(chunks(part), part.start == 0, 1 << 16)]
    wanted = content.split(b"\n")
    assert found == (wanted[:-1] if not wanted[-1] else wanted)


def test_spilled_runs_give_the_same_sums(tmp_path, monkeypatch):
    from queries import titles

    path = tmp_path / "pageviews.gz"
    path.write_bytes(gzip.compress(b"".join(b"en T%d %d 0\n" % (number % 37, number) for number in range(500))))
    task = (0, Part(str(path), 0, path.stat().st_size))
    sums = []
    for limit in (10, 1000):
        monkeypatch.setattr(titles, "_SPILL_TITLES", limit)
        work = str(tmp_path / f"work{limit}")
        assert ReadViews(work, 3, "en.wikipedia")(None, task) == {"page-view lines": 500}
        total = Counter()
        for partition in range(3):
            titles.MergeTitles(work, 0, 1, 1)(None, partition)
            table = titles.spill.read_all(f"{work}/title-candidates-{partition:06d}.arrow")
            total.update(dict(zip(table["query"].to_pylist(), table["count"].to_pylist())))
        sums.append(total)
    assert sums[0] == sums[1] and sums[0].total() == sum(range(500))


def test_cut_off_gzip_is_told(tmp_path):
    (tmp_path / "pageviews.gz").write_bytes(gzip.compress(b"en Dog 1 0\n" * 9999)[:-9])
    task = (0, Part(str(tmp_path / "pageviews.gz"), 0, 10))
    with pytest.raises(UserError, match=r"pageviews\.gz: the gzip file is damaged or ends too early"):
        ReadViews(str(tmp_path), 1, "en.wikipedia")(None, task)
