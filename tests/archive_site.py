"""Answers on loopback with what a web archive recorded: `python tests/archive_site.py FILE.warc.gz`.

Prints the flags that send `pipelines.download_images` to it, then serves until its input is closed. A request is answered
with the response recorded for its host and path (status, type, redirect, body), anything else with 404.
"""

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from fastwarc.warc import ArchiveIterator, WarcRecordType

KEPT = ("Content-Type", "Location", "X-Robots-Tag")


def recorded(path):
    """{(host, path with query): (status, headers, body)} of a WARC's http responses."""
    answers = {}
    with open(path, "rb") as stream:
        for record in ArchiveIterator(stream, parse_http=True, record_types=WarcRecordType.response):
            url = urlsplit(record.headers["WARC-Target-URI"])
            if url.scheme != "http" or record.http_headers is None:
                continue
            headers = {name: value for name, value in record.http_headers.items() if name in KEPT}
            target = url.path + (f"?{url.query}" if url.query else "")
            answers[url.netloc, target] = (record.http_headers.status_code, headers, record.reader.read())
    return answers


def main(path):
    answers = recorded(path)

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            host = self.headers.get("Host", "").split(":")[0]
            status, headers, body = answers.get((host, self.path), (404, {}, b""))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    hosts = sorted({host for host, _ in answers if ":" not in host})
    print(" ".join(f"--map-host {host}:80=127.0.0.1:{server.server_port}" for host in hosts), flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main(sys.argv[1])
