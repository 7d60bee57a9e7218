
import pytest

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
    ],
)
def test_made_cases(wikitext, expected):
    assert " ".join(tokens(to_text(wikitext))) == expected
