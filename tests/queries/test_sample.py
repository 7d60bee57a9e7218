"""The Wikipedia sample against mwparserfromhell: one file, so that one process makes the counts, which takes a while."""

import bz2
import xml.etree.ElementTree as ElementTree
from collections import Counter

import mwparserfromhell
import pytest

from queries.parts import plan
from queries.wikipedia import articles
from queries.wikitext import to_text
from queries.words import read_vocabulary
from tests.queries.dumps import count_words
from wit_builder.text import tokens


@pytest.fixture(scope="module")
def independent_counts(samples) -> Counter:
    """Tokens of the Wikipedia sample's articles, read by ElementTree and mwparserfromhell."""
    counts: Counter = Counter()
    tag = "{http://www.mediawiki.org/xml/export-0.10/}"
    with bz2.open(samples / "wikipedia" / "enwiki-sample.xml.bz2") as stream:
        for _, found in ElementTree.iterparse(stream):
            if found.tag == f"{tag}page" and found.findtext(f"{tag}ns") == "0" and found.find(f"{tag}redirect") is None:
                counts.update(tokens(mwparserfromhell.parse(found.findtext(f"{tag}revision/{tag}text")).strip_code()))
    return counts


def test_agreement_with_mwparserfromhell_on_the_sample(samples, independent_counts):
    ours: Counter = Counter()
    for part in plan(str(samples / "wikipedia" / "enwiki-sample.xml.bz2"), 1 << 40):
        for _, wikitext in articles(part, Counter()):
            ours.update(tokens(to_text(wikitext)))
    assert (ours & independent_counts).total() >= 0.995 * max(ours.total(), independent_counts.total())
    for one, other in ((ours, independent_counts), (independent_counts, ours)):
        assert not [word for word, count in one.items() if count >= 100 and word not in other]


ATTRIBUTES = {"align", "style", "text"}  # of tables that mwparserfromhell gives up on and leaves as text


def test_frequent_words_of_the_sample_against_an_independent_count(samples, tmp_path, independent_counts):
    """The two texts differ a little (docs/queries.md), so a word near the threshold may stand on one side only."""
    count_words(samples / "wikipedia" / "enwiki-sample.xml.bz2", tmp_path, 1 << 21, 100)
    ours = dict(zip(*(column.to_pylist() for column in read_vocabulary(str(tmp_path)).columns)))
    wanted = {word: count for word, count in independent_counts.items() if count >= 100}
    differing = (set(ours) ^ set(wanted)) - ATTRIBUTES
    assert len(ours) == 659 and len(differing) < 8
    assert all(90 <= ours.get(word, independent_counts[word]) < 120 for word in differing)
    common = (set(ours) & set(wanted)) - ATTRIBUTES
    assert sum(abs(ours[word] - wanted[word]) for word in common) < 0.003 * sum(wanted.values())
