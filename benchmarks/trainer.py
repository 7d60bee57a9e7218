"""The trainer beside open_clip (numbers and speed) and webdataset (loading), in one run.

    python -m benchmarks.trainer --shards shards/ --models ViT-B/32 RN50

The peers run in a virtual environment of their own, made on the first run under --environments. First the same exported
weights must give the same embeddings in open_clip; then each side does forward, loss and backward at batch 32 in float32 by
turns, on texts of alt-text length and on texts that fill the context; then each loads the shards by turns, decoded, cropped and
tokenized. CPU seconds of the busy process and its children count, so that a shared machine does not favour either.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from learning.images import to_tensor
from learning.ranks import Ranks
from trainer.data import Chunks, Plan, batches
from trainer.gradients import contrastive_loss
from trainer.index import build_index
from trainer.model import build
from trainer.sizes import MODELS
from trainer.tokenizer import Tokenizer, load_tokenizer

ROOT = Path(__file__).resolve().parent.parent
PEER_PACKAGES = ("open_clip_torch==3.3.0", "timm", "torchvision==0.28.0")  # without what they would bring
PEER_NEEDS = ("regex", "ftfy", "tqdm", "huggingface-hub", "safetensors", "pillow", "webdataset==1.0.2")
BATCH = 32
PEER_NAMES = {"ViT-B/32": "ViT-B-32-quickgelu", "ViT-B/16": "ViT-B-16-quickgelu", "RN50": "RN50-quickgelu"}
TEXT_LENGTHS = {"alt-text lengths": (6, 25), "full context": (77, 77)}  # tokens, start and end included


def peer_python(environments: str) -> str:
    """The peer's interpreter, installed where it is not there yet."""
    folder = os.path.join(environments, "trainer")
    python = os.path.join(folder, "bin", "python")
    if not os.path.exists(python):
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        install = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, f"torch=={torch.__version__.split('+')[0]}"], check=True)
        subprocess.run([*install, "--no-deps", *PEER_PACKAGES], check=True)
        subprocess.run([*install, *PEER_NEEDS], check=True)
    return python


class Side:
    """A process that does one thing at a time: a line of JSON in, a line out. Ours and the peer's alike."""

    def __init__(self, command: list[str]) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "passive"}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)

    def ask(self, **message) -> dict:
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def both(python: str, peer: str) -> dict[str, Side]:
    """Our process and the peer's."""
    ours = Side([sys.executable, "-m", "benchmarks.trainer", "--serve"])
    return {"ours": ours, peer: Side([python, "-m", "benchmarks.trainer_peer"])}


def random_tokens(count: int, lengths: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
    """Texts of random ids of CLIP's vocabulary, start and end included in their lengths, int64 [count, 77]."""
    tokens = torch.zeros(count, 77, dtype=torch.long)
    for row, length in zip(tokens, torch.randint(lengths[0], lengths[1] + 1, (count,), generator=generator).tolist()):
        row[:length] = torch.randint(1, 49_000, (length,), generator=generator)
        row[0], row[length - 1] = 49_406, 49_407
    return tokens


def make_batch(name: str, lengths: tuple[int, int]) -> dict[str, torch.Tensor]:
    """Images as float32 [b, 3, s, s] and tokens int64 [b, 77], the same for both sides."""
    generator = torch.Generator().manual_seed(0)
    size = MODELS[name].image_size
    tokens = random_tokens(BATCH, lengths, generator)
    return {"images": torch.randn(BATCH, 3, size, size, generator=generator), "tokens": tokens}


def answer(message: dict, state: dict) -> dict:
    """Our side of each task; `benchmarks/trainer_peer.py` holds the peer's."""
    from benchmarks.trainer_peer import cpu_seconds

    if message["task"] == "model":
        model = state["model"] = build(MODELS[message["name"]], seed=0).train()
        if not model.config.is_vit:
            state["model"] = model.to(memory_format=torch.channels_last)
        return {}
    if message["task"] == "step":
        batch = torch.load(message["batch"], weights_only=True)
        model, alone = state["model"], Ranks(0, 1, torch.device("cpu"))
        began = cpu_seconds()
        tokens = batch["tokens"]
        tokens = tokens[:, : int(tokens.argmax(dim=1).max()) + 1]  # as training does
        images, texts = model(batch["images"].contiguous(memory_format=torch.channels_last), tokens)
        contrastive_loss("clip", model, images, texts, torch.ones(BATCH, dtype=torch.bool), alone).backward()
        seconds = cpu_seconds() - began
        model.zero_grad(set_to_none=True)
        return {"seconds": seconds}
    tokenizer: Tokenizer = state.setdefault("tokenizer", load_tokenizer(message["merges"]))
    began = cpu_seconds()
    index = build_index([message["shards"]])
    chunks = Chunks(index, Plan(256, 256, len(index)), tokenizer, message["size"], 77, seed=0)
    seen = 0
    for (chunk,) in batches(chunks, 0, workers=1, pin=False):
        seen += int(chunk.valid.sum())
        to_tensor(chunk.images)
    return {"seconds": cpu_seconds() - began, "samples": seen}


def check_equal(python: str, name: str, folder: str) -> float:
    """Largest difference between our embeddings and open_clip's, of the same exported weights in eval mode."""
    weights = os.path.join(folder, "weights.safetensors")
    exported = ["-m", "trainer", "export", "--model", name, "--format", "open_clip", "--output", weights]
    subprocess.run([sys.executable, *exported], cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
    batch = make_batch(name, TEXT_LENGTHS["alt-text lengths"])
    inputs, outputs = os.path.join(folder, "inputs.pt"), os.path.join(folder, "outputs.pt")
    torch.save(batch, inputs)
    peer = Side([python, "-m", "benchmarks.trainer_peer"])
    peer.ask(task="embed", name=PEER_NAMES[name], weights=weights, inputs=inputs, outputs=outputs)
    peer.end()
    theirs = torch.load(outputs, weights_only=True)
    with torch.inference_mode():
        ours = build(MODELS[name], seed=0).eval()(batch["images"], batch["tokens"])
    return max(float((a - b).abs().max()) for a, b in zip(ours, theirs))


def alternate(sides: dict[str, Side], rounds: int, **message) -> dict[str, list[dict]]:
    """Answers of each side, by turns; a first round, which warms up, is left out."""
    found: dict[str, list[dict]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name, side in sides.items():
            result = side.ask(**message)
            if turn:
                found[name].append(result)
    return found


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--shards", help="for the loaders; left out where not given")
    made.add_argument("--models", nargs="*", default=["ViT-B/32", "RN50"], choices=list(PEER_NAMES))
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--environments", default=".benchmarks", help="where the peers' virtual environment goes")
    made.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    flags = made.parse_args()
    if flags.serve:
        state: dict = {}
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line), state)), flush=True)
        return

    python = peer_python(os.path.abspath(flags.environments))
    with tempfile.TemporaryDirectory() as folder:
        for name in flags.models:
            print(f"{name}: largest difference of embeddings {check_equal(python, name, folder):.1e}")
            sides = both(python, "open_clip")
            sides["ours"].ask(task="model", name=name)
            sides["open_clip"].ask(task="model", name=PEER_NAMES[name])
            for kind, lengths in TEXT_LENGTHS.items():
                path = os.path.join(folder, "batch.pt")
                torch.save(make_batch(name, lengths), path)
                report(f"{name}, {kind}", alternate(sides, flags.rounds, task="step", batch=path), lambda result: result["seconds"])
            for side in sides.values():
                side.end()
        if flags.shards:
            where = [python, "-m", "benchmarks.trainer_peer", "--merges"]
            merges = subprocess.run(where, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
            sides = both(python, "webdataset")
            task = {"task": "load", "shards": os.path.abspath(flags.shards), "size": 224, "merges": merges}
            found = alternate(sides, flags.rounds, **task)
            report("loading, per sample", found, lambda result: result["seconds"] / result["samples"])
            for side in sides.values():
                side.end()


def report(what: str, found: dict[str, list[dict]], of) -> None:
    """One line: medians of CPU seconds, and how many times as fast ours is."""
    medians = {name: statistics.median(of(result) for result in results) for name, results in found.items()}
    ours, (peer, theirs) = medians["ours"], next(item for item in medians.items() if item[0] != "ours")
    print(f"{what}: ours {ours:.4g} CPU s, {peer} {theirs:.4g} CPU s, {theirs / ours:.2f} times as fast", flush=True)


if __name__ == "__main__":
    main()
