"""Whether a text is natural language in English: not a file's name, not a camera's settings, not another language.

What the paper asks of YFCC100M's titles and descriptions (section 2.2): many are names that a camera gave, such as 20160716_113957.JPG,
or exposure settings. Rules look at the text alone; the language is told by eldc, whose model is part of its package.
"""

from __future__ import annotations

import re
from functools import lru_cache

import eldc

FILE_NAME = "file_name"
CAMERA_SETTINGS = "camera_settings"
NO_WORDS = "no_words"
NOT_ENGLISH = "not_english"

LONGEST_NAME = 200  # characters; names of files are no longer
ENGLISH = 0.8  # least score of English, as a share of the best language's; measured in docs/matching-and-balancing.md

_EXTENSION = re.compile(
    r"[^.]\.(?:jpe?g|jpe|png|gif|tiff?|bmp|webp|avif|hei[cf]|svg|psd|raw|cr[23]|crw|nef|nrw|orf|arw|dng|raf|rw2|pef|srw|mov|mp4|avi|3gp)$",
    re.IGNORECASE,
)
# What cameras, phones, scanners and programs begin names with, before a number; those of one letter need a longer one.
_MAKERS = frozenset((
    "img", "mg", "dsc", "dscn", "dscf", "dcp", "dcim", "pict", "pic", "imag", "image", "images", "imagen", "imgp", "photo", "photos",
    "picture", "pictures", "foto", "fotos", "bild", "scan", "scanned", "screenshot", "screen", "whatsapp", "untitled", "unnamed",
    "unknown", "sam", "cimg", "mvi", "mov", "vid", "video", "movie", "clip", "pxl", "gopr", "gopro", "gp", "gx", "gh", "dji", "wp",
    "rimg", "rscn", "sdc", "stp", "sany", "hpim", "kif", "mah", "ph", "pano", "panorama", "burst", "cam", "capture", "snapshot", "snap",
    "frame", "fb", "received", "resized", "thumb", "file", "document", "doc", "pa", "pb", "pc", "ex", "p", "r", "l", "v", "s", "e",
))  # fmt: skip
# What may stand in them beside numbers.
_JOINTS = frozenset((
    "img", "image", "shot", "wa", "at", "on", "am", "pm", "copy", "edit", "edited", "bw", "small", "medium", "large", "sm", "md", "lg",
    "hdr", "pano", "mp", "crop", "cropped", "original", "full", "final", "web",
))  # fmt: skip
_PART = re.compile(r"[^\W\d_]+|\d+")
_JOINED = re.compile(r"[\w\s.,:;#()\[\]~+-]+")  # no other sign stands in such a name
_FIRST = re.compile(r"_?([^\W\d_]+)")
_HEX = re.compile(r"(?=[^\d]*\d)(?=[\da-f]*[a-f]|[\d_-]+$)[\da-f]{8,}(?:[-_][\da-z]+)*", re.IGNORECASE)  # names of content stores
_STAMP = re.compile(r"(?:19|20)\d\d[-_. ]?[01]\d[-_. ]?[0-3]\d[-_. t]*\d{2}[-_.:h ]?\d{2}.{0,12}", re.IGNORECASE)  # 20150304_123456

_LETTER = re.compile(r"[^\W\d_]")
_WORD = re.compile(r"[^\W\d_]+")
_SETTING = re.compile(
    r"\b(?:[fƒ]\s*/?\s*\d+(?:[.,]\d+)?|1/\d+\s*(?:s|sec|seconds?)?|iso\s*:?\s*\d+|\d+(?:[.,]\d+)?\s*mm|\d+(?:[.,]\d+)?\s*(?:s|sec|seconds?)"
    r"|[-+]?\d+(?:[.,/]\d+)?\s*ev)(?!\w)",
    re.IGNORECASE,
)
_OF_CAMERAS = frozenset((
    "aperture", "auto", "av", "bias", "body", "camera", "canon", "casio", "compensation", "coolpix", "cybershot", "eos", "exposure",
    "flash", "fired", "focal", "fuji", "fujifilm", "hasselblad", "iso", "kodak", "leica", "length", "lens", "lumix", "manual", "metering",
    "mode", "model", "nikon", "nikkor", "no", "not", "off", "olympus", "on", "panasonic", "pentax", "phase", "powershot", "program",
    "rebel", "ricoh", "samsung", "settings", "shutter", "sigma", "software", "sony", "speed", "tamron", "time", "tv", "used", "with",
    "at", "white", "balance", "x", "and", "the",
))  # fmt: skip


def is_file_name(text: str) -> bool:
    """Whether a text is the name of a file, or what a camera or program makes of one.

    >>> [is_file_name(text) for text in ("IMG_0123", "DSC00021.JPG", "20150304_123456", "photo.jpg", "Photo of 3 dogs", "Boeing 747")]
    [True, True, True, True, False, False]
    """
    if len(text) > LONGEST_NAME:
        return False
    return bool(_EXTENSION.search(text) or _is_camera_name(text) or _STAMP.fullmatch(text) or _HEX.fullmatch(text))


def _is_camera_name(stem: str) -> bool:
    """Whether a maker's letters begin it, a number follows, and nothing else but what joins such names stands in it."""
    first = _FIRST.match(stem)
    if not first or first[1].lower() not in _MAKERS:
        return False
    parts = _PART.findall(stem)
    words = [part.lower() for part in parts if not part.isdigit()]
    digits = sum(len(part) for part in parts if part.isdigit())
    if not digits or not _JOINED.fullmatch(stem) or any(word not in _JOINTS and len(word) > 1 for word in words[1:]):
        return False
    # "Photo 3" is a name, but "Photo at 9", "Image 2 a" or "P 51" may be more than that.
    return digits >= 4 or (len(words) == 1 and len(words[0]) > 2) or (digits >= 3 and "_" in stem)


def is_camera_settings(text: str) -> bool:
    """Whether a text says how a picture was taken and hardly anything else.

    >>> is_camera_settings("Canon EOS 5D, f/2.8, 1/200s, ISO 400"), is_camera_settings("A 50mm lens at f/1.8 on the old wooden table")
    (True, False)
    """
    if len(text) > 400 or len(_SETTING.findall(text)) < 2:
        return False
    rest = [word for word in _WORD.findall(_SETTING.sub(" ", text)) if len(word) > 2 and word.lower() not in _OF_CAMERAS]
    return len(rest) <= 2


def has_words(text: str) -> bool:
    """Whether there is a letter of any script in it."""
    return _LETTER.search(text) is not None


def english_share(text: str) -> float:
    """How English a text is: the score of English as a share of that of the likeliest language, 0…1; 0 where none is told."""
    _detector()
    scores = eldc.detect_details(text).scores
    best = max(scores.values(), default=0.0)
    return scores.get("en", 0.0) / best if best > 0 else 0.0


@lru_cache(maxsize=1)
def _detector() -> None:
    eldc.init()
    eldc.set_scores(eldc.MAX_SCORES)


def why_not_natural(text: str, *, file_names: bool, english: float) -> str:
    """Why a text is no natural language in English, or "".

    Args:
      text: cleaned.
      file_names: drop names of files, settings of cameras, and texts without a letter.
      english: least `english_share`; 0 takes every language.
    """
    if file_names:
        if is_file_name(text):
            return FILE_NAME
        if not has_words(text):
            return NO_WORDS
        if is_camera_settings(text):
            return CAMERA_SETTINGS
    return NOT_ENGLISH if english and english_share(text) < english else ""
