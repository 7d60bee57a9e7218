"""The peers' side of benchmarks/trainer.py: open_clip's models and loss, webdataset's pipeline with open_clip's transforms."""

from __future__ import annotations

import glob
import json
import os
import resource
import sys
from functools import lru_cache


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    return sum(
        usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


@lru_cache
def open_clip_module():
    """open_clip, on a torch without CUDA too: torchvision's wheel expects operators that such a torch lacks."""
    import torch

    if not torch.cuda.is_available():
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            try:
                library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            except RuntimeError:  # already there
                break
        open_clip_module.kept = library  # its definitions go when it does
    import open_clip

    return open_clip


def answer(message: dict, state: dict) -> dict:
    import torch

    open_clip = open_clip_module()
    task = message["task"]
    if task == "embed":
        model = open_clip.create_model(message["name"], pretrained=message["weights"]).eval()
        inputs = torch.load(message["inputs"], weights_only=True)
        with torch.inference_mode():
            images = model.encode_image(inputs["images"], normalize=True)
            texts = model.encode_text(inputs["tokens"], normalize=True)
        torch.save((images, texts), message["outputs"])
        return {}
    if task == "model":
        state["model"] = open_clip.create_model(message["name"]).train()
        state["loss"] = open_clip.ClipLoss()
        return {}
    if task == "step":
        batch = torch.load(message["batch"], weights_only=True)
        began = cpu_seconds()
        images, texts, scale = state["model"](batch["images"], batch["tokens"])[:3]
        state["loss"](images, texts, scale).backward()
        seconds = cpu_seconds() - began
        state["model"].zero_grad(set_to_none=True)
        return {"seconds": seconds}
    return load(message, open_clip)


def load(message: dict, open_clip) -> dict:
    """webdataset as open_clip's training sets it up: shuffle, decode, transform, tokenize, batch, one worker."""
    import webdataset as wds

    transform = open_clip.image_transform(message["size"], is_train=True)
    tokenizer = open_clip.get_tokenizer("ViT-B-32-quickgelu")
    tars = sorted(glob.glob(os.path.join(message["shards"], "*.tar")))
    pipeline = wds.DataPipeline(
        wds.SimpleShardList(tars),
        wds.split_by_worker,
        wds.tarfile_to_samples(),
        wds.shuffle(bufsize=5000, initial=1000),
        wds.decode("pilrgb"),
        wds.rename(image="jpg;png;jpeg;webp", text="txt"),
        wds.map_dict(image=transform, text=lambda text: tokenizer(text)[0]),
        wds.to_tuple("image", "text"),
        wds.batched(256),
    )
    began = cpu_seconds()
    seen = 0
    for images, _ in wds.WebLoader(pipeline, batch_size=None, shuffle=False, num_workers=1):
        seen += len(images)
    return {"seconds": cpu_seconds() - began, "samples": seen}


def main() -> None:
    if sys.argv[1:] == ["--merges"]:
        open_clip = open_clip_module()
        print(os.path.join(os.path.dirname(open_clip.__file__), "bpe_simple_vocab_16e6.txt.gz"))
        return
    state: dict = {}
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), state)), flush=True)


if __name__ == "__main__":
    main()
