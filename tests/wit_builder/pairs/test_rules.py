import pytest
from hypothesis import given
from hypothesis import strategies as st

from wit_builder.pairs.report import REASONS
from wit_builder.pairs.rules import MAX_TEXT, Image, Page, is_placeholder, pairs_of


@pytest.mark.parametrize(
    "src",
    ["", " ", "#", "data:image/gif;base64,R0", "about:blank", "javascript:;", "/i/blank.gif", "spacer.gif?v=2", "http://a/b/1x1.png",
     "lazy-placeholder.png", "loading.svg", "transparent.GIF", "lazy_load.gif", "placeholder-image.png"],
)  # fmt: skip
def test_placeholders(src):
    assert is_placeholder(src)


@pytest.mark.parametrize("src", ["blanket.gif", "a/spacer.jpg", "unloading.gif", "loading-dock.png", "pixel/a.png", "p?blank.gif"])
def test_images_that_only_look_like_placeholders(src):
    assert not is_placeholder(src)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (Image("p.jpg"), "text_missing"),
        (Image("p.jpg", (), " \n\t "), "text_empty"),
        (Image("p.jpg", (), "x" * (MAX_TEXT + 1)), "text_too_long"),
        (Image(None, (), "t"), "no_url"),
        (Image("blank.gif", ("data:,x",), "t"), "url_placeholder"),
        (Image("", (), "t"), "url_empty"),
        (Image("data:,x", (), "t"), "url_data"),
        (Image("ftp://a/b", (), "t"), "url_not_http"),
        (Image("http://[", (), "t"), "url_invalid"),
        (Image("p" * 5000, (), "t"), "url_too_long"),
    ],
)
def test_every_drop_has_its_reason(image, reason):
    assert pairs_of(Page("http://a.example/", None, [image])) == ([], {reason: 1})
    assert reason in REASONS


def test_relative_url_of_a_page_without_a_place():
    assert pairs_of(Page("", None, [Image("p.jpg", (), "t")])) == ([], {"url_relative_without_base": 1})


def test_texts_are_clean():
    pairs, _ = pairs_of(Page("http://a.example/", None, [Image("p", (), "  a\n\u00a0 b\0\ud800 ")]))
    assert pairs == [("http://a.example/p", "a b\ufffd\ufffd", "alt")]


TEXTS = st.one_of(st.none(), st.text(max_size=5), st.just("x" * (MAX_TEXT + 1)))
IMAGES = st.builds(
    Image,
    st.one_of(st.none(), st.text(max_size=8), st.sampled_from(["data:,", "a.jpg", "blank.gif", "//b/c"])),
    st.lists(st.sampled_from(["", "d.jpg", "data:,x"]), max_size=2),
    TEXTS,
    TEXTS,
)


@given(st.sampled_from(["", "http://a.example/x", "\ud800"]), st.lists(IMAGES, max_size=6))
def test_every_candidate_is_a_pair_or_is_counted(url, images):
    for sources in (("alt",), ("title", "alt")):
        pairs, drops = pairs_of(Page(url, None, images), sources)
        candidates = sum(max(1, sum(getattr(image, source) is not None for source in sources)) for image in images)
        assert len(pairs) + sum(drops.values()) == candidates
        assert set(drops) <= set(REASONS)
        assert all(text and text == " ".join(text.split()) and source in sources for _, text, source in pairs)
