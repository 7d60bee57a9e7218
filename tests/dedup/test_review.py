import asyncio
import http.client
import json
import re
import shutil
import socket
import subprocess
import threading

import aiohttp
import pyarrow as pa
import pytest
from PIL import Image

from dedup.overlap import Overlaps
from dedup.review import BINS, Labels, precision_at_edges, sample_pairs, suggested_threshold
from dedup.review_server import Review, make_server
from wit_builder.errors import UserError
from wit_builder.hashing import pair_uid
from wit_builder.shards import SUCCESS, ShardRow, write_shard

HOSTILE = '"><img src=x onerror=alert(1)>.png'


def png(colour, folder):
    path = folder / "one.png"
    Image.new("RGB", (40, 30), colour).save(path)
    return path.read_bytes()


@pytest.fixture
def overlaps(tmp_path) -> Overlaps:
    """Forty evaluation images at similarities 0.5 … 1, each with one training image."""
    folder = tmp_path / "set" / "things"
    folder.mkdir(parents=True)
    hits, rows = [], []
    for index in range(40):
        name = HOSTILE if index == 0 else f"{index:02d}.png"
        (folder / name).write_bytes(png((index * 6, 0, 0), tmp_path))
        url = f"http://example.org/{index}"
        uid = pair_uid(url, "t")
        rows.append(ShardRow(uid, url, "t", status=SUCCESS, image=png((0, index * 6, 0), tmp_path)))
        similarity = 0.5 + index * 0.0125
        hits.append({"dataset": "<b>set</b>", "eval_key": f"things/{name}", "uid": uid, "shard": "00000", "key": f"00000{index:04d}",
                     "similarity": similarity})  # fmt: skip
    write_shard(str(tmp_path / "shards"), 0, rows, extension="png")
    run = {"shards": str(tmp_path / "shards"), "evaluation_sets": {"<b>set</b>": str(tmp_path / "set")}}
    manifest = {"parameters": {"loose": 0.5, "split": "test"}, "inputs": {"evaluation sets": [{"dataset": "<b>set</b>"}]}}
    table = pa.Table.from_pylist(hits).sort_by([("dataset", "ascending"), ("eval_key", "ascending"), ("similarity", "descending")])
    return Overlaps(str(tmp_path), manifest, run, pa.table({}), table)


def test_every_bin_is_sampled_in_turn_and_precision_follows_the_answers(overlaps):
    sample = sample_pairs(overlaps, "<b>set</b>", 1)
    assert sorted(pair.bin for pair in sample.pairs) == list(range(BINS)) and sample.population.sum() == 40
    sample = sample_pairs(overlaps, "<b>set</b>", 15)
    answers: dict[str, str] = {}
    widths = []
    for pair in sample.pairs:
        answers[pair.eval_key] = "duplicate" if pair.similarity >= 0.75 else "different"
        rows = precision_at_edges(sample, answers)
        assert all(row["low"] <= row["precision"] <= row["high"] for row in rows)
        widths.append(rows[0]["high"] - rows[0]["low"])
    assert widths[0] > 0.2 and widths[-1] == 0  # nothing is left to doubt when all is answered
    by_edge = {row["threshold"]: row for row in rows}
    assert by_edge[0.5]["precision"] == 0.5
    assert by_edge[0.75]["precision"] == 1 and by_edge[0.75]["hits"] == 20
    assert suggested_threshold(rows) == 0.75
    assert suggested_threshold(precision_at_edges(sample, {pair.eval_key: "unsure" for pair in sample.pairs})) is None


def test_answers_survive_a_crash_and_are_taken_back(overlaps, tmp_path):
    sample = sample_pairs(overlaps, "<b>set</b>", 15)
    path = tmp_path / "review" / "labels.jsonl"
    labels = Labels(str(path))
    labels.add(sample.pairs[0], "duplicate")
    labels.add(sample.pairs[1], "different")
    assert labels.undo()
    with open(path, "a") as stream:
        stream.write('{"dataset": "cut of')
    again = Labels(str(path))
    assert again.of(sample) == {sample.pairs[0].eval_key: "duplicate"}
    again.add(sample.pairs[2], "unsure")
    assert len(Labels(str(path)).of(sample)) == 2
    path.write_text('{"label": "perhaps"}\n')
    with pytest.raises(UserError, match="line 1"):
        Labels(str(path))


@pytest.fixture
def served(overlaps, tmp_path):
    review = Review(overlaps, str(tmp_path / "labels.jsonl"), 15)
    server, address = make_server(review)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield review, server, address
    server.shutdown()
    server.server_close()


def ask(server, method, path, headers=None, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


def test_only_this_page_on_this_machine_may_ask(served):
    review, server, address = served
    assert server.server_address[0] == "127.0.0.1"
    token = address.split("/")[3]
    good = {"Origin": f"http://127.0.0.1:{server.server_port}", "Content-Type": "application/json"}
    body = json.dumps({"dataset": 0, "pair": 0, "label": "duplicate"})
    status, page, headers = ask(server, "GET", f"/{token}/")
    assert status == 200 and b"same picture" in page
    assert "default-src 'none'" in headers["Content-Security-Policy"] and headers["X-Content-Type-Options"] == "nosniff"
    refused = [
        ("GET", "/", {}, None),
        ("GET", f"/{token[:-1]}/", {}, None),
        ("GET", f"/{token}/", {"Host": "evil.example"}, None),
        ("POST", f"/{token}/label", good | {"Origin": "http://evil.example"}, body),
        ("POST", f"/{token}/label", {"Content-Type": "application/json"}, body),
        ("POST", f"/{token}/label", good | {"Content-Type": "text/plain"}, body),
    ]
    for method, path, sent, data in refused:
        assert ask(server, method, path, sent, data)[0] == 403, (path, sent)
    for path in ("image/0/0/../../etc/passwd", "image/0/99/training", "image/0/-1/training", "image/5/0/training", "state/x", "review.py"):
        assert ask(server, "GET", f"/{token}/{path}")[0] == 404, path
    unknown = [{"dataset": 0, "pair": 10_000, "label": "duplicate"}, {"dataset": 0, "pair": 0, "label": "x"}]
    for bad in ("[]", "{", *map(json.dumps, unknown)):
        assert ask(server, "POST", f"/{token}/label", good, bad)[0] == 400, bad
    assert not review.labels.entries
    status, answer, _ = ask(server, "POST", f"/{token}/label", good, body)
    assert status == 200 and json.loads(answer)["done"] == 1
    status, picture, headers = ask(server, "GET", f"/{token}/image/0/0/training")
    assert status == 200 and picture[:4] == b"\x89PNG" and headers["Content-Type"].startswith("image/png")


def test_the_next_pairs_similarity_is_not_told(served):
    _, server, address = served
    state = json.loads(ask(server, "GET", f"/{address.split('/')[3]}/state/0")[1])
    assert state["next"] == 0 and "similarity" not in json.dumps(state)


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_in_a_browser_keys_answer_and_nothing_hostile_runs(served, tmp_path):
    review, _, address = served
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    browser = subprocess.Popen([*command, f"--user-data-dir={tmp_path / 'browser'}", "about:blank"], stderr=subprocess.PIPE, text=True)
    try:
        for line in browser.stderr:
            if found := re.search(r"ws://\S+", line):
                break
        asyncio.run(drive(found[0], address, review))
    finally:
        browser.kill()
        browser.wait()


async def drive(socket: str, address: str, review: Review) -> None:
    async with aiohttp.ClientSession() as session:
        host = socket.split("/")[2]
        async with session.get(f"http://{host}/json/list") as answer:
            target = next(entry for entry in await answer.json(content_type=None) if entry["type"] == "page")
        async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as page:
            number = 0

            async def call(method, **params):
                nonlocal number
                number += 1
                await page.send_json({"id": number, "method": method, "params": params})
                while True:
                    message = await page.receive_json()
                    assert message.get("method") != "Page.javascriptDialogOpening", "a script from data ran"
                    if message.get("id") == number:
                        return message["result"]

            async def value(expression):
                return (await call("Runtime.evaluate", expression=expression))["result"].get("value")

            async def until(expression):
                for _ in range(200):
                    if await value(expression):
                        return
                    await asyncio.sleep(0.1)
                raise AssertionError(f"never true: {expression}; page says {await value('document.body.innerText')}")

            async def press(key):
                for kind in ("keyDown", "keyUp"):
                    await call("Input.dispatchKeyEvent", type=kind, key=key, text=key if kind == "keyDown" else "")

            await call("Page.enable")
            await call("Page.navigate", url=address)
            await until("document.getElementById('training')?.naturalWidth === 40")
            count = "document.getElementById('count').textContent"
            await until(f"{count}.startsWith('0 of')")
            for done, key in enumerate("ddnu", 1):
                await press(key)
                await until(f"{count}.startsWith('{done} of')")
            await press("z")
            await until(f"{count}.startsWith('3 of')")
            assert [entry["label"] for entry in review.labels.entries] == ["duplicate", "duplicate", "different"]
            assert await value("document.querySelector('option').textContent") == "<b>set</b>"
            # Answer all: every name, the hostile one among them, comes onto the page.
            sample = next(iter(review.samples.values()))
            for pair in sample.pairs:
                review.labels.add(pair, "duplicate")
            await press("u")  # starts nothing: there is a pair on the page, but the answer shows the new state
            await until("document.querySelectorAll('#around figure').length > 0")
            assert await value("document.querySelectorAll('#around img[onerror], img[src=x]').length") == 0


def test_a_port_that_is_taken_is_one_clear_error():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UserError, match="--port: port .*in use"):
        make_server(None, taken.getsockname()[1])
