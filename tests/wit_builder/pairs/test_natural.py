import pytest

from wit_builder.pairs.natural import english_share, has_words, is_camera_settings, is_file_name, why_not_natural

FILE_NAMES = (
    "IMG_0123", "IMG_0123.JPG", "DSC00021", "DSC_0021", "_DSC1234", "_MG_4567", "DSCN1234 (2)", "P1010023", "20150304_123456",
    "20160716_113957.JPG", "2015-03-04 12.34.56", "photo.jpg", "IMG-20150304-WA0001", "Screenshot 2019-05-05 at 10.10.10 PM",
    "WhatsApp Image 2019-05-05 at 10.10.10", "image001", "Photo 3", "untitled-3", "Scan0001", "FB_IMG_1490000000000", "MVI_1234.AVI",
    "PXL_20210101_120000000.MP", "SAM_1234 copy", "R0012345", "DSCF1234-edit", "a sunset over rome.jpg", "3f2a9bc07de14a77",
    "f47ac10b-58cc-4372-a567-0e02b2c3d479",
)  # fmt: skip
TEXTS = (
    "a dog", "Boeing 747", "Photo of 3 dogs", "P 51 Mustang", "Image of the Year 2012", "Canon EOS 5D", "Room 101", "Fig. 3: map",
    "Toyota Corolla 2015", "S4 train", "Windows 10", "Route 66", "Video 2 of the wedding", "Facade", "deadbeef", "Photo at 9", "K2",
    "Scan of a letter from 1912", "V8 engine", "3D model", "Photo by Anna", "Document 12 of the archive", "東京タワー 2020",
)  # fmt: skip
ENGLISH = (
    "a red bicycle leaning against a brick wall", "two dogs running on the beach", "Sunset over the bay", "view from our hotel window",
    "Black and white portrait of a man", "children playing football in the park", "the team after the match", "A cat asleep on the sofa",
)  # fmt: skip
OTHERS = (
    "ein rotes Fahrrad an einer Mauer", "zwei Hunde laufen am Strand", "deux chiens courent sur la plage", "vue de la fenêtre de l'hôtel",
    "dos perros corriendo en la playa", "due cani corrono sulla spiaggia", "twee honden rennen op het strand", "две собаки бегут по пляжу",
    "浜辺を走る犬", "كلبان على الشاطئ", "dua anjing berlari di pantai", "två hundar springer på stranden",
)  # fmt: skip


@pytest.mark.parametrize("text", FILE_NAMES)
def test_names_of_files(text):
    assert is_file_name(text) and not is_camera_settings(text)


@pytest.mark.parametrize("text", TEXTS + ENGLISH + OTHERS)
def test_texts_are_no_names_of_files_and_no_settings(text):
    assert not is_file_name(text) and not is_camera_settings(text) and has_words(text)


@pytest.mark.parametrize(
    "text",
    [
        "Canon EOS 5D, f/2.8, 1/200s, ISO 400",
        "ƒ/5.6 18.0 mm 1/100 400",
        "Exposure: 1/250 Aperture: f/8.0 Focal Length: 35 mm",
    ],
)
def test_settings_of_cameras(text):
    assert is_camera_settings(text) and why_not_natural(text, file_names=True, english=0) == "camera_settings"


@pytest.mark.parametrize("text", ["A 50mm lens at f/1.8 on the old wooden table", "30 mm nails, 40 mm screws and hinges", "f/2.8"])
def test_texts_that_name_settings_stay(text):
    assert not is_camera_settings(text)


def test_english_is_told_from_other_languages():
    assert [text for text in ENGLISH if english_share(text) < 0.8] == [] and [text for text in OTHERS if english_share(text) >= 0.8] == []
    assert english_share("") == 0 and english_share("12 %") == 0


def test_reasons_and_what_is_not_asked_for():
    ask = {"file_names": True, "english": 0.8}
    texts = ("IMG_1.jpg", "2008-08-14", "zwei Hunde laufen am Strand", "two dogs on the beach")
    assert [why_not_natural(text, **ask) for text in texts] == ["file_name", "no_words", "not_english", ""]
    assert why_not_natural("IMG_1.jpg", file_names=False, english=0) == ""


@pytest.mark.parametrize("text", ["img" + "1 " * 4000, "_" * 8000, "f/1 " * 2000, "img" + " at" * 60 + "!", "2010" + "1" * 190 + "!"])
def test_texts_made_to_make_patterns_backtrack_come_to_an_end(text):
    assert not is_file_name(text) and not is_camera_settings(text)
