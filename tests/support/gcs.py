"""As much of Google's token and storage services, on loopback, as a Dataflow submission needs: whatever is staged is kept."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import google_crc32c
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        name = path.removeprefix("/storage/v1/b/").removesuffix("/storageLayout")
        bucket, _, found = name.partition("/o/")
        if not found:
            self._answer({"kind": "storage#bucket", "id": bucket, "name": bucket, "location": "US"})
        elif f"{bucket}/{found}" in self.server.objects:
            self._answer(self._described(bucket, found))
        else:
            self._answer({"error": {"code": 404, "message": "no such object"}}, 404)

    def do_POST(self) -> None:
        path, query = urllib.parse.urlsplit(self.path).path, urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        body = self._body()
        if path == "/token":
            self._answer({"access_token": "x", "expires_in": 3600, "token_type": "Bearer"})
            return
        bucket = path.split("/b/")[1].split("/")[0]
        if query["uploadType"] == ["resumable"]:
            name = query["name"][0] if "name" in query else json.loads(body)["name"]
            self.send_response(200)
            self.send_header("Location", f"{self.server.url}/put?name={urllib.parse.quote(name)}&bucket={bucket}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:  # multipart: the description, then the bytes
            boundary = self.headers["Content-Type"].split("boundary=")[1].strip('"\'').encode()
            _, described, content, _ = body.split(b"--" + boundary)
            name = json.loads(described.split(b"\r\n\r\n", 1)[1])["name"]
            self.server.objects[f"{bucket}/{name}"] = content.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
            self._answer(self._described(bucket, name))

    def do_PUT(self) -> None:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        bucket, name = query["bucket"][0], query["name"][0]
        self.server.objects[f"{bucket}/{name}"] = self._body()
        self._answer(self._described(bucket, name))

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _described(self, bucket: str, name: str) -> dict:
        content = self.server.objects[f"{bucket}/{name}"]
        sums = {
            "md5Hash": base64.b64encode(hashlib.md5(content).digest()).decode(),
            "crc32c": base64.b64encode(google_crc32c.value(content).to_bytes(4, "big")).decode(),
        }
        return {"kind": "storage#object", "bucket": bucket, "name": name, "size": str(len(content)), "generation": "1", **sums}

    def _answer(self, value: dict, code: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_) -> None:
        pass


@contextmanager
def cloud(folder: Path) -> Iterator[tuple[dict[str, str], dict[str, bytes]]]:
    """Yields environment variables that lead there, and what was stored: BUCKET/NAME: bytes."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.objects = {}
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account", "project_id": "a-project", "private_key_id": "1", "private_key": key.decode(),
        "client_email": "nobody@a-project.invalid", "client_id": "1", "token_uri": f"{server.url}/token",
    }  # fmt: skip
    (folder / "account.json").write_text(json.dumps(account))
    try:
        where = {"GOOGLE_APPLICATION_CREDENTIALS": str(folder / "account.json"), "STORAGE_EMULATOR_HOST": server.url}
        yield where, server.objects
    finally:
        server.shutdown()
        server.server_close()
