"""Fixtures for all tests: the real samples, which are not part of the project and may be absent."""

import asyncio
import signal
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A suite that was started in the background of a script ignores Ctrl-C, and so would every command that a test interrupts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def samples() -> Path:
    """Folder of real samples; tests that need it are skipped, visibly, where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real samples at {folder}")
    return folder


class WebServer:
    """A web server on loopback whose answers are bytes, or coroutines that may misbehave as they like.

    Attributes:
      answers: path to a body (bytes), or to a coroutine function of (request head, StreamWriter).
      requests: heads of all requests so far, in order.
    """

    def __init__(self, ssl_context=None):
        self.answers, self.requests = {}, []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        start = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=ssl_context, limit=1 << 20)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if ssl_context else 'http'}://localhost:{self.port}"

    async def _serve(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                self.requests.append(head)
                answer = self.answers.get(head.split(" ")[1])
                if callable(answer):
                    await answer(head, writer)
                    break
                status = "404 Not Found" if answer is None else "200 OK"
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(answer or b'')}\r\n\r\n".encode() + (answer or b""))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            return  # the other side has had enough, or the test
        finally:
            writer.close()

    def asked(self, path):
        """How often a path was asked for."""
        return sum(head.split(" ")[1] == path for head in self.requests)

    def close(self):
        async def end():
            self._server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def web_server():
    """A loopback web server: see `WebServer`. Called with a TLS context, it makes another one for https."""
    made = []

    def make(ssl_context=None):
        made.append(WebServer(ssl_context))
        return made[-1]

    yield make
    for server in made:
        server.close()
