from wit_builder.report import Section, render


def test_texts_are_escaped_and_the_page_needs_no_network():
    section = Section("Texts <b>")
    section.table(["text", "count"], [["<script>alert(1)</script>", 1200]])
    section.plot(lambda figure: figure.subplots().plot([1, 2]), alt="a \"line\"")
    section.image(b"jpeg", "<img onerror=x>")
    page = render("Report", [section]).decode()
    assert "<script>" not in page and "&lt;script&gt;" in page and "1,200" in page
    assert "<img onerror" not in page
    assert "http" not in page.replace('http-equiv="Content-Security-Policy"', "")
