"""The other side of `benchmarks.extract`, for an environment that holds nothing of this project.

    python extract_peer.py wat FILE.warc.wat.gz        cc2dataset's way: FastWARC, pysimdjson, urljoin, MD5
    python extract_peer.py html PARSER FILE.jsonl      images with src and alt of each page, a JSON string a line
    python extract_peer.py site PARSER FOLDER BASE_URL LIST    pairs of a folder's pages, by a parser and urljoin
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import sys
import time
from html.parser import HTMLParser
from urllib.parse import quote, urldefrag, urljoin


def wat(path: str) -> dict:
    """What cc2dataset does with a WAT file for images, up to its list of links."""
    import simdjson
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    start = time.process_time()
    with open(path, "rb") as stream:
        data = io.BytesIO(stream.read())
    found = []
    for record in ArchiveIterator(data, record_types=WarcRecordType.metadata, parse_http=False):
        try:
            parsed = simdjson.load(record.reader)
        except ValueError:
            continue
        envelope = parsed["Envelope"]
        payload = envelope["Payload-Metadata"]
        if "HTTP-Response-Metadata" not in payload or "HTML-Metadata" not in payload["HTTP-Response-Metadata"]:
            continue
        html = payload["HTTP-Response-Metadata"]["HTML-Metadata"]
        if "Links" not in html:
            continue
        page = envelope["WARC-Header-Metadata"]["WARC-Target-URI"]
        base = urljoin(page, html["Head"]["Base"]) if "Head" in html and "Base" in html["Head"] else page
        links = [
            {"url": link["url"], "alt": link["alt"]}
            for link in html["Links"]
            if link.get("path", "") == "IMG@/src" and len(link.get("alt", "")) > 0
        ]
        for link in links:
            if not link["url"].startswith(("http://", "https://")):
                try:
                    link["url"] = urljoin(base, link["url"])
                except ValueError:
                    continue
            if link["url"].startswith(("http://", "https://")):
                link["uid"] = hashlib.md5((link["alt"] + link["url"]).encode()).hexdigest()
                link["page"] = page
                found.append(link)
    return {"seconds": time.process_time() - start, "links": len(found)}


def resiliparse(page: str) -> int:
    from resiliparse.parse.html import HTMLTree

    nodes = HTMLTree.parse(page).document.get_elements_by_tag_name("img")
    return len([(node.getattr("src"), node.getattr("alt")) for node in nodes])


def selectolax(page: str) -> int:
    from selectolax.lexbor import LexborHTMLParser

    return len([(node.attributes.get("src"), node.attributes.get("alt")) for node in LexborHTMLParser(page).css("img")])


def lxml(page: str) -> int:
    from lxml import etree

    try:
        tree = etree.fromstring(page.encode("utf-8", "replace"), etree.HTMLParser(encoding="utf-8", huge_tree=True))
    except etree.XMLSyntaxError:
        return 0
    return 0 if tree is None else len([(node.get("src"), node.get("alt")) for node in tree.iter("img")])


def html(parser: str, path: str) -> dict:
    """Seconds that a parser takes for every page, and the images that it finds."""
    with open(path, encoding="utf-8") as stream:
        pages = [json.loads(line) for line in stream]
    images_of = {"resiliparse": resiliparse, "selectolax": selectolax, "lxml": lxml}[parser]
    images_of("<img src=a alt=b>")
    start = time.process_time()
    images = sum(map(images_of, pages))
    return {"seconds": time.process_time() - start, "images": images}


def attributes_html5lib(page: bytes) -> list[tuple[str, dict]]:
    import html5lib

    tree = html5lib.parse(page, treebuilder="etree", namespaceHTMLElements=False)
    return [(node.tag, dict(node.attrib)) for node in tree.iter() if node.tag in ("img", "base")]


def attributes_lxml(page: bytes) -> list[tuple[str, dict]]:
    from lxml import etree

    tree = etree.fromstring(page, etree.HTMLParser(huge_tree=True))
    return [] if tree is None else [(node.tag, dict(node.attrib)) for node in tree.iter("img", "base")]


def attributes_standard(page: bytes) -> list[tuple[str, dict]]:
    found = []

    class Images(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag in ("img", "base"):
                found.append((tag, {name: value or "" for name, value in reversed(attrs)}))

    parser = Images()
    parser.feed(page.decode("utf-8", "replace"))
    parser.close()
    return found


def site(parser: str, folder: str, base_url: str, names: str) -> dict:
    """(page URL, image URL, text) of every image with an alt text and an http URL, of the pages that a file lists."""
    attributes_of = {"html5lib": attributes_html5lib, "lxml": attributes_lxml, "html.parser": attributes_standard}[parser]
    with open(names, encoding="utf-8") as stream:
        paths = stream.read().split("\n")
    pairs = []
    start = time.process_time()
    for path in paths:
        with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as stream:
            found = attributes_of(stream.read())
        page_url = base_url + quote(os.path.relpath(path, folder))
        bases = [values["href"] for tag, values in found if tag == "base" and "href" in values]
        base = urljoin(page_url, bases[0]) if bases else page_url
        for tag, values in found:
            text = " ".join(values.get("alt", "").split())
            if tag == "img" and text and values.get("src", "").strip():
                url = urldefrag(urljoin(base, values["src"].strip())).url
                if url.startswith(("http://", "https://")):
                    pairs.append((page_url, quote(url, safe="%/:?#[]@!$&'()*+,;=~"), text))
    return {"seconds": time.process_time() - start, "pairs": pairs}


if __name__ == "__main__":
    print(json.dumps({"wat": wat, "html": html, "site": site}[sys.argv[1]](*sys.argv[2:])))
