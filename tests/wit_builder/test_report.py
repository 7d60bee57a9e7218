import re

from wit_builder.report import Section, counted, render


def test_texts_are_escaped_and_the_page_needs_no_network():
    section = Section("Texts <b>")
    section.table(["text", "count"], [["<script>alert(1)</script>", 1200]])
    section.plot(lambda figure: figure.subplots().plot([1, 2]), alt="a \"line\"")
    section.image(b"jpeg", "<img onerror=x>")
    page = render("Report", [section]).decode()
    assert "<script>" not in page and "&lt;script&gt;" in page and "1,200" in page
    assert "<img onerror" not in page
    assert "http" not in page.replace('http-equiv="Content-Security-Policy"', "")


def test_bars_are_as_long_as_their_numbers():
    section = Section("Sizes")
    section.bar_chart("images by <side>", ["<32", "32 to 64", "more"], [500, 2000, 0])
    page = render("Report", [section]).decode()
    assert "images by &lt;side&gt;" in page and '<th scope="row">&lt;32</th>' in page
    assert re.findall(r'style="width: ([\d.]+)%"', page) == ["25.00", "100.00"]
    assert re.findall(r'<td class="number">([\d,]+)</td>', page) == ["500", "2,000", "0"]


def test_a_long_page_begins_with_links_to_its_parts():
    page = render("Report", [Section(f"Part <{number}>") for number in range(1, 9)]).decode()
    assert page.count("<nav>") == 1 and all(f'<a href="#part{number}">Part &lt;{number}&gt;</a>' in page for number in range(1, 9))
    assert all(f'<a id="part{number}"></a><h2>Part &lt;{number}&gt;</h2>' in page for number in range(1, 9))
    assert "<nav>" not in render("Report", [Section("Alone")]).decode()


def test_columns_are_set_by_what_they_hold():
    section = Section("Drops")
    section.table(
        ["reason", "share", "meaning", "url"],
        [["opt_out_x_robots_tag", "1.04%", "long " * 20, "http://a.example/" + "x" * 30], ["http_404", "<1%", None, ""]],
    )
    kinds = re.findall(r'<th class="(\w+)">', render("Report", [section]).decode())
    assert kinds == ["words", "number", "prose", "any"]


def test_measured_numbers_of_a_column_have_as_many_decimals():
    section = Section("Accuracy")
    section.table(["top-1", "examples", "p", "λ"], [[9.0, 60, 0.05, 1e-6], [18.333, 1200, 0.25, 1.5], [None, None, 0.5, 2.0]])
    cells = re.findall(r'<td class="number">(.*?)</td>', render("Report", [section]).decode())
    assert cells == ["9.00", "60", "0.05", "1e-06", "18.33", "1,200", "0.25", "1.5", "", "", "0.50", "2"]


def test_one_is_no_plural():
    assert [counted(number, "shard") for number in (0, 1, 1200)] == ["0 shards", "1 shard", "1,200 shards"]
