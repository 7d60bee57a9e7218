import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wit_builder.pairs.html import largest_candidate, read_page, text_of
from wit_builder.pairs.rules import choose_url, pairs_of


@pytest.mark.parametrize(
    ("srcset", "wanted"),
    [
        ("a.jpg", "a.jpg"),
        ("a.jpg 320w, b.jpg 1280w, c.jpg 640w", "b.jpg"),
        ("a.jpg, b.jpg 2x, c.jpg 1.5x", "b.jpg"),
        ("a.jpg 1x,b.jpg 2x", "b.jpg"),
        ("a,b.jpg 1x, c,d.jpg 3x", "c,d.jpg"),
        ("data:image/png;base64,AA== 1x, a.jpg 2x", "a.jpg"),
        ("  a.jpg\n 100w ,\n b.jpg 200w 50h,", "b.jpg"),
        ("a.jpg 1x (foo, bar), b.jpg 2x", "b.jpg"),
        ("a.jpg 640w, b.jpg 2x", "a.jpg"),
        ("a.jpg 1e999x, b.jpg .5x", "a.jpg"),
        (", ,, a.jpg ,", "a.jpg"),
        ("a.jpg,, b.jpg 2x", "b.jpg"),
        ("", ""),
        (" , ", ""),
    ],
)
def test_largest_candidate(srcset, wanted):
    assert largest_candidate(srcset) == wanted


@given(st.lists(st.tuples(st.text("abc/.,%?", min_size=1, max_size=8), st.integers(1, 9999)), min_size=1, max_size=6))
def test_the_largest_of_written_candidates_is_read_back(candidates):
    candidates = [(f"u{url}e", width) for url, width in candidates]
    best = max(candidates, key=lambda candidate: candidate[1])[1]
    assert largest_candidate(", ".join(f"{url} {width}w" for url, width in candidates)) in {u for u, w in candidates if w == best}


@settings(deadline=None)
@given(st.text("a,( )1.5wx\n", max_size=60))
def test_any_srcset_is_read(srcset):
    assert not any(character.isspace() for character in largest_candidate(srcset))


BLANK = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="


@pytest.mark.parametrize(
    ("tag", "wanted"),
    [
        ('<img alt=t src="real.jpg" data-src="other.jpg" srcset="big.jpg 2x">', "real.jpg"),
        (f'<img alt=t src="{BLANK}" data-src="real.jpg">', "real.jpg"),
        ('<img alt=t src="/i/blank.gif" data-original="real.jpg">', "real.jpg"),
        ('<img alt=t src="" data-lazy-src="real.jpg">', "real.jpg"),
        ('<img alt=t data-src="real.jpg">', "real.jpg"),
        (f'<img alt=t src="{BLANK}" srcset="small.jpg 320w, real.jpg 640w">', "real.jpg"),
        (f'<img alt=t src="{BLANK}" srcset="{BLANK} 1x" data-srcset="real.jpg 2x">', "real.jpg"),
        (f'<picture><source srcset="small.webp 1x, real.webp 2x"><source srcset="b.png"><img alt=t src="{BLANK}"></picture>', "real.webp"),
        ('<picture><source srcset="other.webp"><img alt=t src="real.jpg"></picture>', "real.jpg"),
        (f'<picture><source srcset="other.webp"></picture><img alt=t src="{BLANK}" data-src="real.jpg">', "real.jpg"),
        ('<video><source srcset="other.webp"><img alt=t data-src="real.jpg"></video>', "real.jpg"),
        ('<img alt=t src="?a=1&amp;b=2&copy=3">', "?a=1&b=2&copy=3"),
    ],
)
def test_which_url_is_taken(tag, wanted):
    (image,) = read_page("", tag.encode()).images
    assert choose_url(image) == (wanted, "")
    assert (image.alt, image.title) == ("t", None)


def test_base_of_the_page_is_the_first_with_a_href():
    page = read_page("http://a.example/x/y.html", b"<base target=_top><base href=/b/><base href=/c/><img src=p.jpg alt=t>")
    assert pairs_of(page)[0] == [("http://a.example/b/p.jpg", "t", "alt")]


FIGURES = """
<img alt=none>
<figure><img alt=one><figcaption>A <b>caption</b>,<br>two lines &amp; more <!-- x --><script>'</figcaption>'</script></figcaption></figure>
<figure><figcaption>For both</figcaption><img alt=two><img alt=three><figcaption>not this</figcaption></figure>
<figure><img alt=outer><figure><img alt=inner><figcaption>inner caption</figcaption></figure><figcaption>outer caption</figcaption></figure>
<figure><img alt=open><figcaption>to the end
"""


def test_captions_belong_to_the_images_of_their_figure():
    images = read_page("", FIGURES.encode(), captions=True).images
    captions = {image.alt: " ".join((image.figcaption or "-").split()) for image in images}
    assert captions == {
        "none": "-",
        "one": "A caption, two lines & more",
        "two": "For both",
        "three": "For both",
        "outer": "outer caption",
        "inner": "inner caption",
        "open": "to the end",
    }
    assert not any(image.figcaption for image in read_page("", FIGURES.encode()).images)


def test_text_sources_are_told_apart():
    page = read_page("http://a.example/", b'<img src=p alt=a title=t aria-label=l><img src=q title="only title">')
    assert pairs_of(page, ("alt", "title", "aria-label"))[0] == [
        ("http://a.example/p", "a", "alt"),
        ("http://a.example/p", "t", "title"),
        ("http://a.example/p", "l", "aria-label"),
        ("http://a.example/q", "only title", "title"),
    ]
    assert pairs_of(page)[0] == [("http://a.example/p", "a", "alt")]


@settings(deadline=None)
@given(st.one_of(st.binary(), st.text("<>/=\"' figurecaptionmgsd!-", max_size=80).map(str.encode)))
def test_any_bytes_are_read(html):
    pairs_of(read_page("http://a.example/", html, captions=True), ("alt", "figcaption"))
    text_of(html)
