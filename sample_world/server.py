"""Serves the made web on loopback: `python -m sample_world.server --site FOLDER`.

It says its port on the first line of its output, and ends when its input is closed, so that it never outlives the one who
started it: in a terminal, by Ctrl-D or Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from aiohttp import web

from wit_builder import files
from wit_builder.errors import UserError, exit_with
from wit_builder.flags import PORT

ROUTES = "routes.json"
_TYPES = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".gif": "image/gif", ".html": "text/html; charset=utf-8"}


def application(folder: str) -> web.Application:
    """The site in a folder: its `routes.json` maps a path as it stands in URLs to {file, status, headers}; all else is not found."""
    routes = files.read_json(os.path.join(folder, ROUTES))

    async def answer(request: web.Request) -> web.Response:
        route = routes.get(request.rel_url.raw_path)
        if route is None:
            return web.Response(status=404, text="no such page\n")
        body = b""
        if "file" in route:
            body = await asyncio.to_thread(files.read_bytes, os.path.join(folder, route["file"]))
        headers = {"Content-Type": _TYPES.get(os.path.splitext(request.path)[1], "text/plain"), **route.get("headers", {})}
        return web.Response(status=route.get("status", 200), body=body, headers=headers)

    made = web.Application()
    made.router.add_get("/{path:.*}", answer)
    return made


async def _serve(folder: str, port: int) -> None:
    runner = web.AppRunner(application(folder), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, backlog=512)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    try:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    finally:
        await runner.cleanup()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until standard input is closed."""
    parser = argparse.ArgumentParser(prog="python -m sample_world.server", description=__doc__.split("\n")[0])
    parser.add_argument("--site", required=True, metavar="FOLDER", help="the folder `site` of a made world")
    parser.add_argument("--port", type=PORT, default=0, metavar="N", help="on 127.0.0.1 (default: a free one)")
    flags = parser.parse_args(arguments)
    if not files.exists(os.path.join(flags.site, ROUTES)):
        raise UserError(f"no {ROUTES} there", where=flags.site, fix="give the folder site of a world of python -m sample_world")
    try:
        asyncio.run(_serve(flags.site, flags.port))
    except KeyboardInterrupt:
        pass
    except (OSError, OverflowError) as error:
        raise UserError(f"cannot listen: {error}", where=f"--port {flags.port}", fix="leave it out for a free one") from error


if __name__ == "__main__":
    exit_with(main)
