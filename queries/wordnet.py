"""WordNet's synsets by name: read through NLTK where its corpus is installed, else from a database folder.

Folder format: https://wordnet.princeton.edu/documentation/wndb5wn (the files `data.noun`, `data.verb`, `data.adj`, `data.adv`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.text import normal_form

_FILES = ("data.noun", "data.verb", "data.adj", "data.adv")
_USUAL = (
    "/usr/share/wordnet",
    "/usr/local/share/wordnet",
    "/usr/local/WordNet-3.0/dict",
    "/usr/local/WordNet-3.1/dict",
    "/opt/local/share/WordNet-3.0/dict",
    "/opt/homebrew/opt/wordnet/dict",
)
_MARKER = re.compile(r"\((?:a|p|ip)\)$")  # where an adjective may stand in a sentence
_HOW = (
    "Debian: apt install wordnet-base; anywhere: python -m nltk.downloader wordnet, or WordNet's own download from "
    "https://wordnet.princeton.edu/download, then --wordnet FOLDER with data.noun in it"
)


def read_folder(folder: str) -> Iterator[list[str]]:
    """Lemmas of each synset, underscores as spaces, in the order of the database: nouns, verbs, adjectives, adverbs.

    Raises:
      UserError: where a file is missing or not in WordNet's format.
    """
    for name in _FILES:
        path = files.join(folder, name)
        if not files.exists(path):
            raise UserError(f"no {name} in this folder: no WordNet database", where=folder, fix=_HOW)
        with files.open_read(path) as stream:
            for number, line in enumerate(stream.read().split(b"\n"), 1):
                if line.startswith(b"  ") or not line.strip():
                    continue  # the licence, at the top
                try:
                    fields = line.split(b" ")
                    lemmas = [fields[4 + 2 * index].decode("ascii") for index in range(int(fields[3], 16))]
                    int(fields[0])
                except (ValueError, IndexError) as error:
                    raise UserError(f"line {number} is no synset", where=path, fix=_HOW) from error
                if lemmas:
                    yield [_MARKER.sub("", lemma).replace("_", " ") for lemma in lemmas]


def read_nltk() -> list[list[str]] | None:
    """Lemmas of each synset from NLTK's WordNet corpus; None where NLTK or the corpus is not installed."""
    try:
        from nltk.corpus import wordnet
    except ImportError:
        return None
    try:
        wordnet.ensure_loaded()
    except LookupError:
        return None
    # all_synsets() gives satellite adjectives under "a" as well: each part of speech once.
    return [[name.replace("_", " ") for name in synset.lemma_names()] for pos in "nvar" for synset in wordnet.all_synsets(pos)]


def find(folder: str | None, environment: Mapping[str, str]) -> tuple[str, list[list[str]]]:
    """Where WordNet was found, and the lemmas of each of its synsets.

    Looked for in this order: `folder` (the flag), WNSEARCHDIR, WNHOME, NLTK's corpus, the usual places.

    Raises:
      UserError: where there is none.
    """
    if folder:
        return folder, list(read_folder(folder))
    named = [environment.get("WNSEARCHDIR", "")]
    if environment.get("WNHOME"):
        named.append(os.path.join(environment["WNHOME"], "dict"))
    for place in named:
        if place:
            return place, list(read_folder(place))
    synsets = read_nltk()
    if synsets is not None:
        return "NLTK", synsets
    for place in _USUAL:
        if os.path.exists(os.path.join(place, _FILES[0])):
            return place, list(read_folder(place))
    raise UserError("WordNet was not found", fix=_HOW)


def names(synsets: list[list[str]], every_lemma: bool) -> list[tuple[str, str, int]]:
    """(name, normal form, number of synsets it names), lower-cased, unique by normal form, in its order.

    A synset's name is its first lemma, or each of its lemmas. Of names with the same normal form the first in code
    point order is displayed.
    """
    shown: dict[str, str] = {}
    number: dict[str, int] = {}
    for synset in synsets:
        for name in {lemma.lower() for lemma in (synset if every_lemma else synset[:1])}:
            key = normal_form(name)
            if key:
                shown[key] = min(name, shown.get(key, name))
                number[key] = number.get(key, 0) + 1
    return [(shown[key], key, number[key]) for key in sorted(shown)]
