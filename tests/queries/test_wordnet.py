from pathlib import Path

import pytest

from queries import wordnet
from tests.queries import wordnet_folder
from wit_builder.errors import UserError

DEBIAN = Path("/usr/share/wordnet")


def test_small_folder(tmp_path):
    folder = wordnet_folder.write(tmp_path / "wn")
    synsets = list(wordnet.read_folder(folder))
    assert synsets[1] == ["dog", "domestic dog", "Canis familiaris"] and synsets[5] == ["galore"] and synsets[6] == ["well", "DOG"]
    assert wordnet.names(synsets, False) == [
        ("computer", "computer", 1), ("dog", "dog", 1), ("entity", "entity", 1), ("galore", "galore", 1), ("run", "run", 1),
        ("st. louis", "st louis", 1), ("well", "well", 2),
    ]  # fmt: skip
    assert ("dog", "dog", 2) in wordnet.names(synsets, True) and len(wordnet.names(synsets, True)) == 13


def test_places_are_tried_in_order(tmp_path, monkeypatch):
    first, home = wordnet_folder.write(tmp_path / "first"), tmp_path / "home"
    wordnet_folder.write(home / "dict")
    monkeypatch.setattr(wordnet, "read_nltk", lambda: [["nltk"]])
    monkeypatch.setattr(wordnet, "_USUAL", (first,))
    assert wordnet.find(first, {"WNHOME": "/nowhere"})[0] == first
    assert wordnet.find(None, {"WNSEARCHDIR": first, "WNHOME": str(home)})[0] == first
    assert wordnet.find(None, {"WNHOME": str(home)})[0] == str(home / "dict")
    assert wordnet.find(None, {}) == ("NLTK", [["nltk"]])
    monkeypatch.setattr(wordnet, "read_nltk", lambda: None)
    assert wordnet.find(None, {})[0] == first
    monkeypatch.setattr(wordnet, "_USUAL", ())
    with pytest.raises(UserError, match="WordNet was not found .*apt install wordnet-base.*nltk.downloader wordnet"):
        wordnet.find(None, {})


def test_what_is_no_database_is_told(tmp_path):
    with pytest.raises(UserError, match=r"no data\.noun in this folder"):
        wordnet.find(str(tmp_path), {})
    folder = Path(wordnet_folder.write(tmp_path / "wn"))
    (folder / "data.verb").write_bytes(b"not a synset\n")
    with pytest.raises(UserError, match=r"data\.verb: line 1 is no synset"):
        list(wordnet.read_folder(str(folder)))


def test_nltk_reads_the_same(tmp_path, monkeypatch):
    """NLTK's own reader, on the small folder made a corpus of NLTK."""
    import nltk
    from nltk.corpus import WordNetCorpusReader
    from nltk.corpus.util import LazyCorpusLoader

    folder = wordnet_folder.write_for_nltk(tmp_path / "corpora" / "wordnet")
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    monkeypatch.setattr("nltk.corpus.wordnet", LazyCorpusLoader("wordnet", WordNetCorpusReader, None))
    read = wordnet.read_nltk()
    assert read is not None and len(read) == 8
    assert wordnet.names(read, True) == wordnet.names(list(wordnet.read_folder(folder)), True)
    monkeypatch.setattr(nltk.data, "path", [])
    monkeypatch.setattr("nltk.corpus.wordnet", LazyCorpusLoader("wordnet", WordNetCorpusReader, None))
    assert wordnet.read_nltk() is None


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's wordnet-base is not installed")
def test_wordnet_30():
    synsets = list(wordnet.read_folder(str(DEBIAN)))
    assert len(synsets) == 117_659
    assert len({synset[0].lower() for synset in synsets}) == 86_571
    assert len(wordnet.names(synsets, False)) == 86_405
    assert len(wordnet.names(synsets, True)) == 146_740
