"""Sets of labels for pictures of people, as the paper's section 7.1 uses them."""

from __future__ import annotations

RACES = ("White", "Black", "Indian", "East Asian", "Southeast Asian", "Middle Eastern", "Latino")
GENDERS = ("male", "female")

# FairFace's 14 classes with the paper's seven beside them, by category (its tables 6 and 7).
FAIRFACE = {
    **{f"{race} {gender}": "FairFace" for race in RACES for gender in GENDERS},
    **dict.fromkeys(("animal", "gorilla", "chimpanzee", "orangutan"), "non-human"),
    **dict.fromkeys(("thief", "criminal", "suspicious person"), "crime-related"),
}
NAMED = {"fairface": FAIRFACE}
