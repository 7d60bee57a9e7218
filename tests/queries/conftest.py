"""Counts that nothing of ours took part in, but for the normal form."""

import bz2
import xml.etree.ElementTree as ElementTree
from collections import Counter

import mwparserfromhell
import pytest

from wit_builder.text import tokens


@pytest.fixture(scope="session")
def independent_counts(samples) -> Counter:
    """Tokens of the Wikipedia sample's articles, read by ElementTree and mwparserfromhell."""
    counts: Counter = Counter()
    tag = "{http://www.mediawiki.org/xml/export-0.10/}"
    with bz2.open(samples / "wikipedia" / "enwiki-sample.xml.bz2") as stream:
        for _, found in ElementTree.iterparse(stream):
            if found.tag == f"{tag}page" and found.findtext(f"{tag}ns") == "0" and found.find(f"{tag}redirect") is None:
                counts.update(tokens(mwparserfromhell.parse(found.findtext(f"{tag}revision/{tag}text")).strip_code()))
    return counts
