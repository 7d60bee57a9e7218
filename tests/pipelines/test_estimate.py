"""Estimates: the arithmetic against numbers worked out by hand, the command, and the page that quotes it."""

import json
import subprocess
import sys
import textwrap

import pytest
from engines import ROOT

from pipelines import estimate
from pipelines.costs import ASSUMPTIONS, Prices, StageCost, defaults, total
from pipelines.costs import estimate as stages_of

# Round numbers: 800 pairs are 1,000 tried, 4,000 matching, 8,000 in the pool, 40,000 links, 4 files.
ROUND = {
    **defaults(),
    **dict(success=0.8, kept=0.25, matching=0.5, matching_a_link=0.1, links_a_wat=10_000, wat_bytes=7),
    **dict(wikipedia_bytes=7200, wikipedia_ratio=4, xml_rate=2, xml_shuffle=0.5, query_bytes=0.25),
    **dict(wat_seconds=900, link_shuffle=3, pair_bytes=5, balance_seconds=0.45, balance_shuffle=6, balanced_bytes=9),
    **dict(image_seconds=4.5, web_image_bytes=11, request_bytes=2, stored_image_bytes=10, pairs_a_shard=100),
    **dict(embed_seconds=9, embedding_bytes=12, copies_out=2),
}


def test_the_arithmetic():
    assert stages_of(800, ROUND) == [
        StageCost("build_queries", 7.2e-6, "GB of XML", core_hours=1, reads=1800, shuffle=3600, stores=1800),
        StageCost("extract_pairs", 4, "WAT files", core_hours=1, reads=28, shuffle=120_000, stores=40_000),
        StageCost("balance_pairs", 8000, "pairs", core_hours=1, reads=40_000, shuffle=48_000, stores=9000),
        StageCost("download_images", 10, "shards", core_hours=1, reads=8800, stores=8000, egress=2000),
        StageCost("find_overlaps", 800, "images", core_hours=2, reads=8000, stores=9600),
        StageCost("to the trainer", 2, "copies", reads=16_000, egress=16_000),
    ]


def test_sums_and_money():
    stages = stages_of(800, ROUND)
    every = total(stages)
    assert (every.core_hours, every.shuffle, every.egress) == (6, 171_600, 18_000)
    prices = Prices(core_hour=2, gb_month=1e9, gb_shuffle=1e8, gb_egress=1e9, months=3)
    assert stages[0].money(prices) == pytest.approx(2 + 3 * 1800 + 360)
    assert every.money(prices) == pytest.approx(sum(stage.money(prices) for stage in stages))
    assert not Prices().any and every.money(Prices()) == 0


@pytest.mark.parametrize("name", [one.name for one in ASSUMPTIONS])
def test_every_assumption_matters(name):
    changed = stages_of(1e6, {**defaults(), name: defaults()[name] * 0.5})
    assert changed != stages_of(1e6, defaults())


def test_the_table_and_the_json_say_the_same(capsys):
    flags = ["--pairs", "1e6", "--cores", "100", "--price-core-hour", "0.05", "--kept", "0.5", "--wat-seconds", "3600"]
    estimate.main(flags)
    title, *lines = capsys.readouterr().out.splitlines()
    assert title == "1,000,000 pairs"
    assert lines[0].split()[-4:] == ["on", "100", "cores", "money"] and len(lines) == 8
    estimate.main([*flags, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["assumptions"]["kept"] == 0.5
    pairs = found["stages"][1]
    wats = 1e6 / 0.85 / 0.5 / 0.0042 / 400_000
    assert pairs["units"] == pytest.approx(wats) and pairs["core_hours"] == pytest.approx(wats)
    assert pairs["money"] == pytest.approx(0.05 * wats)
    assert lines[2].split()[:3] == ["extract_pairs", f"{round(wats, -1):,.0f}", "WAT"]


@pytest.mark.parametrize(
    "value, text", [(0, "-"), (7, "7.0 B"), (999.6, "1.0 kB"), (1234, "1.2 kB"), (99_600, "100 kB"), (3.5e14, "350 TB"), (8e20, "800 EB")]
)
def test_bytes_to_two_digits(value, text):
    assert estimate._bytes(value) == text


@pytest.mark.parametrize("value, text", [(0, "-"), (0.00331, "0.0033"), (0.999, "1.0"), (9.96, "10"), (9_349, "9,300")])
def test_numbers_to_two_digits(value, text):
    assert estimate._number(value) == text


def test_help_names_every_assumption_and_its_source():
    run = subprocess.run([sys.executable, "-m", "pipelines.estimate", "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    words = " ".join(run.stdout.split())
    for one in ASSUMPTIONS:
        assert one.flag in words and " ".join(one.source.split()) in words


@pytest.mark.parametrize("pairs", ["100000", "10000000", "400000000"])
def test_the_page_quotes_the_command(pairs, capsys):
    estimate.main(["--pairs", pairs])
    quoted = textwrap.indent(capsys.readouterr().out, "    ")
    assert quoted in (ROOT / "docs" / "running-at-scale.md").read_text(), f"python -m pipelines.estimate --pairs {pairs}"
