"""A WordNet database folder in the real format (wndb(5WN)): a few dozen synsets around the made world's words."""

from __future__ import annotations

import os

from sample_world.vocabulary import COLOURS
from wit_builder import files

# (name of the synset, its words, its hypernym's name, gloss) per part of speech; the first of each word's is its commonest.
_NOUNS: list[tuple[str, tuple[str, ...], str, str]] = [
    ("entity", ("entity",), "", "that which is perceived to have its own distinct existence"),
    ("object", ("object", "physical_object"), "entity", "a tangible and visible entity"),
    ("abstraction", ("abstraction", "abstract_entity"), "entity", "a general concept formed from examples"),
    ("artifact", ("artifact", "artefact"), "object", "a man-made object taken as a whole"),
    ("organism", ("organism", "being"), "object", "a living thing"),
    ("plant", ("plant", "flora"), "organism", "a living organism lacking the power of locomotion"),
    ("animal", ("animal", "beast"), "organism", "a living organism characterized by voluntary movement"),
    ("attribute", ("attribute",), "abstraction", "an abstraction belonging to an entity"),
    ("shape", ("shape", "form"), "attribute", "the spatial arrangement of something"),
    ("color", ("color", "colour"), "attribute", "a visual attribute of things that results from the light they emit"),
    ("vessel", ("vessel", "watercraft"), "artifact", "a craft designed for water transportation"),
    ("sailing_boat", ("sailing_boat", "sailboat"), "vessel", "a boat with a sail"),
    ("door_key", ("door_key", "latchkey"), "artifact", "a key that opens a door"),
    ("tea_cup", ("teacup", "tea_cup"), "artifact", "a cup from which tea is drunk"),
    ("toadstool", ("toadstool", "fly_agaric"), "organism", "common name for an inedible or poisonous mushroom"),
    ("pentagram", ("pentagram", "five-pointed_star"), "shape", "a star with five points"),
    ("half_moon", ("half-moon", "crescent_moon"), "shape", "the moon when half its disc or less is lit"),
    ("goldfish", ("goldfish", "Carassius_auratus"), "animal", "small golden or orange fish kept in ponds"),
    ("conifer", ("conifer", "coniferous_tree"), "plant", "any tree that bears cones"),
    ("petal", ("petal", "flower_petal"), "plant", "part of the corolla of a flower"),
    ("cottage", ("cottage", "summer_house"), "artifact", "a small house"),
    ("signpost", ("signpost", "guidepost"), "artifact", "a post bearing a sign that shows the way"),
    ("sweetheart", ("sweetheart",), "organism", "a person loved by another person"),
    ("Polaris", ("Polaris", "North_Star", "polar_star"), "object", "the brightest star of the Little Bear"),
    *((name, (name,), hypernym, f"a {name}, as one draws it") for name, hypernym in (
        ("star", "shape"), ("heart", "shape"), ("house", "artifact"), ("tree", "plant"), ("fish", "animal"), ("flower", "plant"),
        ("moon", "object"), ("boat", "vessel"), ("arrow", "shape"), ("key", "artifact"), ("cup", "artifact"),
        ("mushroom", "organism"), ("ring", "shape"), ("cross", "shape"),
    )),
    *((f"{name}_color", (name, f"{name}ness"), "color", f"the colour {name}") for name in COLOURS),
]  # fmt: skip
_VERBS = [
    ("draw", ("draw", "sketch"), "", "make a picture of something with lines"),
    ("paint", ("paint",), "draw", "make a picture with colours"),
    ("float", ("float", "drift"), "", "rest on water or in air"),
    ("bloom", ("bloom", "blossom"), "", "produce or yield flowers"),
]
_ADJECTIVES = [
    *((f"{name}_adjective", (name,), "", f"of the colour {name}") for name in COLOURS),
    ("striped", ("striped", "stripy"), "", "marked with stripes"),
    ("dotted", ("dotted", "polka-dotted"), "", "marked with dots"),
    ("checkered", ("checkered", "chequered"), "", "patterned with alternating squares"),
]
_ADVERBS = [("brightly", ("brightly", "brilliantly"), "", "with brightness"), ("softly", ("softly",), "", "in a soft manner")]

_PARTS = {"noun": ("n", 3, _NOUNS), "verb": ("v", 36, _VERBS), "adj": ("a", 0, _ADJECTIVES), "adv": ("r", 2, _ADVERBS)}

_LEXNAMES = ["adj.all", "adj.pert", "adv.all", "noun.Tops"] + [
    f"noun.{name}" for name in (
        "act", "animal", "artifact", "attribute", "body", "cognition", "communication", "event", "feeling", "food", "group",
        "location", "motive", "object", "person", "phenomenon", "plant", "possession", "process", "quantity", "relation",
        "shape", "state", "substance", "time",
    )
] + [
    f"verb.{name}" for name in (
        "body", "change", "cognition", "communication", "competition", "consumption", "contact", "creation", "emotion",
        "motion", "perception", "possession", "social", "stative", "weather",
    )
] + ["adj.ppl"]  # fmt: skip
_LEXNAME_PART = {"noun": 1, "verb": 2, "adj": 3, "adv": 4}

# Real files open with a licence, every line of it begun by two spaces; readers must pass over it. NLTK's reader looks
# there for the version, in these very words.
_HEADER = (
    "  1 A small dictionary of a made world, with no part of WordNet in it. The format is that of\n"
    "  2 WordNet 3.0 Copyright 2006 by Princeton University; this file is under the licence of its project.\n"
)


def write_wordnet(folder: str) -> int:
    """Write index, data and exception files, the sense index and the list of lexicographer files. Returns the synsets."""
    files.make_folder(folder)
    senses: list[str] = []
    total = 0
    for part, (letter, lexicographer, synsets) in _PARTS.items():
        data, offsets = _data(letter, lexicographer, synsets)
        _write(folder, f"data.{part}", data)
        _write(folder, f"index.{part}", _index(letter, synsets, offsets))
        _write(folder, f"{part}.exc", "crosses cross\nfishes fish\n" if part == "noun" else "")
        senses += _senses(letter, lexicographer, synsets, offsets)
        total += len(synsets)
    _write(folder, "index.sense", "".join(f"{line}\n" for line in sorted(senses)))
    _write(folder, "cntlist.rev", "")
    _write(folder, "lexnames", "".join(
        f"{number:02d}\t{name}\t{_LEXNAME_PART[name.split('.')[0]]}\n" for number, name in enumerate(_LEXNAMES)
    ))  # fmt: skip
    return total


def _write(folder: str, name: str, text: str) -> None:
    files.write_bytes(os.path.join(folder, name), text.encode("ascii"))


def _pointers(synsets, letter: str, offsets: dict[str, int]) -> dict[str, list[str]]:
    """Hypernym (@) and hyponym (~) pointers of each synset, eight-digit byte offsets in them."""
    pointers: dict[str, list[str]] = {name: [] for name, *_ in synsets}
    for name, _, hypernym, _ in synsets:
        if hypernym:
            pointers[name].insert(0, f"@ {offsets.get(hypernym, 0):08d} {letter} 0000")
            pointers[hypernym].append(f"~ {offsets.get(name, 0):08d} {letter} 0000")
    return pointers


def _data(letter: str, lexicographer: int, synsets) -> tuple[str, dict[str, int]]:
    """Text of a data file, and the byte offset of each synset's line in it."""
    offsets: dict[str, int] = {}
    for _ in range(2):  # the lengths do not depend on the offsets, so the second pass has them right
        pointers = _pointers(synsets, letter, offsets)
        lines, position = [], len(_HEADER)
        for name, words, _, gloss in synsets:
            listed = " ".join(f"{word} 0" for word in words)
            pointing = " ".join([f"{len(pointers[name]):03d}", *pointers[name]])
            frames = " 01 + 08 00" if letter == "v" else ""
            line = f"{offsets.get(name, 0):08d} {lexicographer:02d} {letter} {len(words):02x} {listed} {pointing}{frames} | {gloss}  \n"
            offsets[name] = position
            position += len(line)
            lines.append(line)
    return _HEADER + "".join(lines), offsets


def _index(letter: str, synsets, offsets: dict[str, int]) -> str:
    """Text of an index file: words in order, with the symbols of their pointers and their synsets' offsets."""
    found: dict[str, list[str]] = {}
    for name, words, *_ in synsets:
        for word in words:
            found.setdefault(word.lower(), []).append(name)
    pointers = _pointers(synsets, letter, offsets)
    lines = []
    for word, names in sorted(found.items()):
        symbols = sorted({pointer[0] for name in names for pointer in pointers[name]})
        fields = [word, letter, len(names), len(symbols), *symbols, len(names), 0, *(f"{offsets[name]:08d}" for name in names)]
        lines.append(" ".join(map(str, fields)) + "  \n")
    return _HEADER + "".join(lines)


def _senses(letter: str, lexicographer: int, synsets, offsets: dict[str, int]) -> list[str]:
    """Lines of the sense index: sense key, offset, sense number, tag count."""
    number = {"n": 1, "v": 2, "a": 3, "r": 4}[letter]
    seen: dict[str, int] = {}
    lines = []
    for name, words, *_ in synsets:
        for word in map(str.lower, words):
            seen[word] = seen.get(word, 0) + 1
            lines.append(f"{word}%{number}:{lexicographer:02d}:{seen[word] - 1:02d}:: {offsets[name]:08d} {seen[word]} 0")
    return lines


