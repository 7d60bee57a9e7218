"""The review page's server, for one person on this machine.

It listens on 127.0.0.1 only; every address holds a secret token; the Host header must name this server, so that no other
site can rebind its name to it, and changes need its own Origin. Pictures are decoded and encoded again, and only those
of the sampled pairs can be asked for.
"""

from __future__ import annotations

import hmac
import io
import json
import os
import secrets
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any

from PIL import Image

from dedup.gallery import read_evaluation_images, read_training_images
from dedup.overlap import Overlaps, within_name
from dedup.review import LABELS, Labels, Sample, precision_at_edges, sample_pairs, suggested_threshold
from learning.images import ImageError, decode
from wit_builder import files
from wit_builder.errors import UserError

_HERE = os.path.dirname(__file__)
_STATIC = {"": ("review.html", "text/html"), "review.js": ("review.js", "text/javascript"), "review.css": ("review.css", "text/css")}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_MAX_BODY = 10_000  # bytes
_AROUND = 4  # pairs shown on each side of the suggested threshold


class Review:
    """What the page shows and changes: samples, answers and pictures."""

    def __init__(self, overlaps: Overlaps, labels_path: str, per_bin: int) -> None:
        self.labels, self.lock = Labels(labels_path), Lock()
        self.thresholds_path = os.path.join(os.path.dirname(labels_path) or ".", "thresholds.json")
        self.samples: dict[str, Sample] = {name: sample_pairs(overlaps, name, per_bin) for name in overlaps.compared}
        split = overlaps.manifest["parameters"]["split"]
        self.pictures: dict[tuple[str, int, str], bytes] = {}
        wanted = {(pair.shard, pair.key) for name in overlaps.datasets for pair in self.samples[name].pairs}
        training = read_training_images(overlaps.run, wanted)
        own = {within_name(name): name for name in overlaps.datasets}
        for name, sample in self.samples.items():
            dataset, others = own.get(name, name), training
            if name in own:
                others = {
                    (other, key): image
                    for other in {pair.shard for pair in sample.pairs}
                    for key, image in read_evaluation_images(
                        overlaps.run, dataset, other, {pair.key for pair in sample.pairs if pair.shard == other}
                    ).items()
                }
            evaluation = read_evaluation_images(overlaps.run, dataset, split, {pair.eval_key for pair in sample.pairs})
            for number, pair in enumerate(sample.pairs):
                self.pictures[name, number, "evaluation"] = evaluation.get(pair.eval_key, b"")
                self.pictures[name, number, "training"] = others.get((pair.shard, pair.key), b"")

    def state(self, dataset: str) -> dict[str, Any]:
        """Everything the page needs of one set. The next pair's similarity is kept from it."""
        with self.lock:
            sample = self.samples[dataset]
            answers = self.labels.of(sample)
            rows = precision_at_edges(sample, answers)
            suggested = suggested_threshold(rows) if answers else None
            open_pairs = [number for number, pair in enumerate(sample.pairs) if pair.eval_key not in answers]
            ranked = sorted(range(len(sample.pairs)), key=lambda number: -sample.pairs[number].similarity)
            split = sum(sample.pairs[number].similarity >= suggested for number in ranked) if suggested is not None else 0
            around = ranked[max(0, split - _AROUND) : split + _AROUND] if suggested is not None else []
            return {
                "datasets": list(self.samples),
                "dataset": dataset,
                "next": open_pairs[0] if open_pairs else None,
                "done": len(sample.pairs) - len(open_pairs),
                "of": len(sample.pairs),
                "precision": rows if answers else [],
                "suggested": suggested,
                "around": [self._known(sample, number, answers, suggested) for number in around],
            }

    def _known(self, sample: Sample, number: int, answers: Mapping[str, str], suggested: float) -> dict[str, Any]:
        pair = sample.pairs[number]
        return {
            "pair": number,
            "similarity": round(pair.similarity, 3),
            "above": pair.similarity >= suggested,
            "label": answers.get(pair.eval_key, ""),
            "name": pair.eval_key,
        }

    def label(self, dataset: str, number: int, label: str) -> None:
        with self.lock:
            self.labels.add(self.samples[dataset].pairs[number], label)
            self._save_thresholds()

    def undo(self) -> None:
        with self.lock:
            self.labels.undo()
            self._save_thresholds()

    def _save_thresholds(self) -> None:
        found = {}
        for name, sample in self.samples.items():
            answers = self.labels.of(sample)
            if answers and (suggested := suggested_threshold(precision_at_edges(sample, answers))) is not None:
                found[name] = suggested
        files.write_json(self.thresholds_path, found)

    def picture(self, dataset: str, number: int, side: str) -> bytes | None:
        """PNG of one picture at full size, encoded by us; None where there is none, or it does not decode."""
        try:
            image = decode(self.pictures[dataset, number, side])
        except (KeyError, ImageError):
            return None
        buffer = io.BytesIO()
        image.thumbnail((2048, 2048), Image.Resampling.BICUBIC)
        image.save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()


def make_server(review: Review, port: int = 0, token: str | None = None) -> tuple[ThreadingHTTPServer, str]:
    """A server on 127.0.0.1, not yet serving, and the address to open.

    Raises:
      UserError: where the port is taken.
    """
    token = token or secrets.token_urlsafe(24)

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "review", ""

        def log_message(self, *arguments: Any) -> None:
            pass

        def _allowed(self) -> str | None:
            """The path below the token, or None after an answer of refusal."""
            names = {f"127.0.0.1:{self.server.server_port}", f"localhost:{self.server.server_port}"}
            first, _, rest = self.path.partition("?")[0].lstrip("/").partition("/")
            if self.headers.get("Host") not in names or not hmac.compare_digest(first.encode(), token.encode()):
                self._answer(403, b"forbidden", "text/plain")
                return None
            return rest

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            for name, value in {**_HEADERS, "Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def _json(self, value: Any) -> None:
            self._answer(200, json.dumps(value).encode(), "application/json")

        def do_GET(self) -> None:
            rest = self._allowed()
            if rest is None:
                return
            if rest in _STATIC:
                name, kind = _STATIC[rest]
                return self._answer(200, files.read_bytes(os.path.join(_HERE, name)), kind)
            kind, _, place = rest.partition("/")
            numbers = place.split("/")
            try:
                if kind == "state":
                    return self._json(review.state(list(review.samples)[int(numbers[0])]))
                if kind == "image" and (data := review.picture(list(review.samples)[int(numbers[0])], int(numbers[1]), numbers[2])):
                    return self._answer(200, data, "image/png")
            except (ValueError, IndexError):
                pass
            self._answer(404, b"not found", "text/plain")

        def do_POST(self) -> None:
            rest = self._allowed()
            if rest is None:
                return
            own = {f"http://127.0.0.1:{self.server.server_port}", f"http://localhost:{self.server.server_port}"}
            if self.headers.get("Origin") not in own or self.headers.get("Content-Type") != "application/json":
                return self._answer(403, b"forbidden", "text/plain")
            try:
                length = int(self.headers.get("Content-Length", ""))
                if not 0 <= length <= _MAX_BODY:
                    raise ValueError(length)
                body = json.loads(self.rfile.read(length))
                number = int(body["dataset"])
                if number < 0:
                    raise ValueError(number)
                dataset = list(review.samples)[number]
                if rest == "label" and body["label"] in LABELS and 0 <= int(body["pair"]) < len(review.samples[dataset].pairs):
                    review.label(dataset, int(body["pair"]), body["label"])
                elif rest == "undo":
                    review.undo()
                else:
                    return self._answer(400, b"bad request", "text/plain")
            except (ValueError, KeyError, TypeError, IndexError):
                return self._answer(400, b"bad request", "text/plain")
            self._json(review.state(dataset))

    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise UserError(f"port {port}: {str(error.strerror).lower()}", where="--port", fix="give another, or none") from error
    server.daemon_threads = True
    return server, f"http://127.0.0.1:{server.server_port}/{token}/"
