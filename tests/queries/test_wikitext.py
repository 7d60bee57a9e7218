

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queries.wikitext import to_text
from wit_builder.text import tokens


@pytest.mark.parametrize(
    ("wikitext", "expected"),
    [
        ("'''Dogs''' are ''good'' [[animal|animals]].", "dogs are good animals"),
        ("[[dog]]s and [[cat (animal)|cat]]s", "dogs and cats"),
        ("a {{infobox|x={{nested|y}}|z=[[w]]}} b", "a b"),
        ("a <!-- hidden [[x]] --> b", "a b"),
        ("x<ref name=a>Smith {{cite|t}} 2001</ref> y<ref name=a /> z", "x smith 2001 y z"),
        ("a <math>\\frac{{a}}{b}</math> b <gallery>\nFile:x.jpg|caption\n</gallery> c", "a b c"),
        ("a <nowiki>[[not|link]] {{x}} &amp;</nowiki> b", "a not link x b"),
        ("[http://example.org the site] and http://bare.example", "the site and http bare example"),
        ("[[File:a.jpg|thumb|A ''nice'' [[dog]]]] b", "thumb a nice dog b"),
        ("== Head ==\n* one\n# two\n----\n; term : def", "head one two term def"),
        ("&eacute;t&#233; &nbsp;&#x41; &unknown; a&b", "été a unknown a b"),
        ("{| class=wikitable\n|+ cap\n|-\n! scope=col | H1 !! H2\n|-\n| style=x | c1 || c2\n|}\nend", "cap h1 h2 c1 c2 end"),
        ("a<br>b<br/>c", "a b c"),
        ("{{{1|default}}} {{{2}}}", "default"),
        ("open [[link and {{template and <b>tag", "open link and template and b tag"),
        ("", ""),
        ("{{Outer|{{inner|x}}|[[y]]}}z {{#if: {{{a}}} | b }}", "z"),
        ("{{ no [[name]] }} b", "no name b"),
        ("[[File:x.jpg|thumb|left|100px|See [http://a.b this [1]] now]]", "thumb left 100px see this 1 now"),
        ("[http://example.org] x [http://example.org\nbroken] y", "x http example org broken y"),
        ("<source lang=c>int x; [[y]]</source> <timeline>a</timeline> <imagemap>b</imagemap>", "int x y"),
        ("<syntaxhighlight>a<b>c</syntaxhighlight>", "a b c"),
        ("one<p>two</p>three<hr/>four", "one two three four"),
        ("<i><b>x</i> y", "b x y"),
        ("<li>one<li>two", "li one li two"),
        ("{|\n| a || style=\"b\" | c\n{|\n| inner\n|}\n| d\n|}", "a c inner d"),
        ("x | y || z ! w", "x y z w"),
        ("l''''amour'''' ''''''six''''''", "l amour six"),
        ("&lt;b&gt; &#0; &#x110000; &amp;nbsp;", "b 0 x110000 nbsp"),
    ],
)
def test_made_cases(wikitext, expected):
    assert " ".join(tokens(to_text(wikitext))) == expected


MARKUP = [
    "{{", "}}", "{{{", "}}}", "[[", "]]", "[", "]", "|", "\n", "{|", "|}", "\n|-", "\n|", "\n!", "''", "'''", "<b>", "</b>", "<ref>",
    "</ref>", "<br>", "<nowiki>", "</nowiki>", "<!--", "-->", "<math>", "</math>", "[http://a.b ", "&amp;", "&#x41;", "=", "word", "ünï",
    " ", "<", "&",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(MARKUP), max_size=40))
def test_no_markup_defeats_it_and_plain_words_survive(pieces):
    text = to_text("".join(pieces))
    assert text.count("word") <= pieces.count("word")
    assert to_text("first " + "".join(pieces).replace("\n", " ")).startswith("first")


@given(st.text(st.characters(exclude_characters="{}[]<>|&'!=\n", exclude_categories=["Cs"])))
def test_text_without_markup_is_itself(text):
    assert to_text(text) == text


@pytest.mark.parametrize(
    "unit", ["{", "{{", "{{a|", "[[a|", "<b>", "<ref>[[a|", "<math>", "<!--", "\n{|\n|", "||", "[http://a ", "{{{a|", "<b>]]", "<"]
)
def test_megabytes_of_open_markup(unit):
    """A quadratic step anywhere would take hours here, and run into the suite's time limit."""
    half = unit * (300_000 // len(unit))
    to_text(half)
    to_text(half + "}}" * 100_000 + "]]" * 100_000 + "|" * 100_000)
