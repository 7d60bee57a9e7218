"""What there is in the made world: things with colours and patterns, on grounds; and their names in five languages."""

from __future__ import annotations

# name: (red, green, blue), and how common the colour is on the web
COLOURS: dict[str, tuple[tuple[int, int, int], float]] = {
    "red": ((214, 30, 38), 3.0),
    "blue": ((28, 78, 208), 2.4),
    "green": ((22, 150, 52), 2.0),
    "yellow": ((246, 216, 28), 1.7),
    "black": ((22, 22, 24), 1.5),
    "white": ((247, 247, 244), 1.3),
    "orange": ((246, 130, 20), 1.2),
    "purple": ((124, 40, 170), 1.0),
    "pink": ((248, 140, 190), 1.0),
    "brown": ((112, 66, 30), 1.0),
}

# name: (plural, how common the thing is on the web); the first twelve are the classes of the evaluation set
THINGS: dict[str, tuple[str, float]] = {
    "star": ("stars", 3.2),
    "heart": ("hearts", 2.8),
    "house": ("houses", 2.2),
    "tree": ("trees", 1.9),
    "fish": ("fish", 1.7),
    "flower": ("flowers", 1.5),
    "moon": ("moons", 1.3),
    "boat": ("boats", 1.2),
    "arrow": ("arrows", 1.1),
    "key": ("keys", 1.0),
    "cup": ("cups", 1.0),
    "mushroom": ("mushrooms", 1.0),
    "ring": ("rings", 0.7),
    "cross": ("crosses", 0.7),
}
CLASSES = tuple(THINGS)[:12]

PATTERNS: dict[str, float] = {"plain": 8.0, "striped": 1.0, "dotted": 0.8, "checkered": 0.6}

# name: (how a caption says it, two tones)
GROUNDS: dict[str, tuple[str, tuple[int, int, int], tuple[int, int, int]]] = {
    "grass": ("on the grass", (106, 140, 92), (150, 172, 118)),
    "sand": ("on the sand", (206, 190, 152), (226, 214, 184)),
    "snow": ("in the snow", (206, 214, 222), (234, 238, 242)),
    "brick": ("on a brick wall", (156, 112, 98), (184, 140, 122)),
    "paper": ("on grey paper", (150, 150, 150), (196, 196, 194)),
    "water": ("on the water", (112, 150, 172), (150, 184, 198)),
    "night": ("at night", (50, 54, 76), (84, 88, 112)),
    "clouds": ("in the clouds", (158, 178, 200), (214, 222, 232)),
}

COUNTS: dict[int, tuple[str, float]] = {1: ("a", 9.0), 2: ("two", 0.6), 3: ("three", 0.4)}

# Languages of the web that the English query list does not know: (adjective, noun) per colour and thing.
GERMAN = {
    "red": "roter", "blue": "blauer", "green": "grüner", "yellow": "gelber", "black": "schwarzer", "white": "weißer",
    "orange": "oranger", "purple": "violetter", "pink": "rosafarbener", "brown": "brauner",
    "star": "Stern", "heart": "Herz", "house": "Haus", "tree": "Baum", "fish": "Fisch", "flower": "Blume", "moon": "Mond",
    "boat": "Boot", "arrow": "Pfeil", "key": "Schlüssel", "cup": "Tasse", "mushroom": "Pilz", "ring": "Reif", "cross": "Kreuz",
}  # fmt: skip
FRENCH = {
    "red": "rouge", "blue": "bleu", "green": "vert", "yellow": "jaune", "black": "noir", "white": "blanc", "orange": "orangé",
    "purple": "violet", "pink": "rose", "brown": "marron",
    "star": "étoile", "heart": "cœur", "house": "maison", "tree": "arbre", "fish": "poisson", "flower": "fleur", "moon": "lune",
    "boat": "bateau", "arrow": "flèche", "key": "clé", "cup": "tasse", "mushroom": "champignon", "ring": "anneau", "cross": "croix",
}  # fmt: skip
JAPANESE = {
    "red": "赤い", "blue": "青い", "green": "緑の", "yellow": "黄色い", "black": "黒い", "white": "白い", "orange": "橙色の",
    "purple": "紫の", "pink": "桃色の", "brown": "茶色の",
    "star": "星", "heart": "ハート", "house": "家", "tree": "木", "fish": "魚", "flower": "花", "moon": "月", "boat": "船",
    "arrow": "矢", "key": "鍵", "cup": "カップ", "mushroom": "きのこ", "ring": "指輪", "cross": "十字",
}  # fmt: skip
GREEK = {
    "red": "κόκκινο", "blue": "μπλε", "green": "πράσινο", "yellow": "κίτρινο", "black": "μαύρο", "white": "άσπρο",
    "orange": "πορτοκαλί", "purple": "μωβ", "pink": "ροζ", "brown": "καφέ",
    "star": "αστέρι", "heart": "καρδιά", "house": "σπίτι", "tree": "δέντρο", "fish": "ψάρι", "flower": "λουλούδι",
    "moon": "φεγγάρι", "boat": "βάρκα", "arrow": "βέλος", "key": "κλειδί", "cup": "κούπα", "mushroom": "μανιτάρι",
    "ring": "δαχτυλίδι", "cross": "σταυρός",
}  # fmt: skip
