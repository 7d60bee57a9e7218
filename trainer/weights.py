"""Weights under the names of others: OpenAI's (ours too), open_clip's (the same), Hugging Face's; read without running pickled code."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from learning import checkpoint
from trainer.load import MODEL_PREFIX
from trainer.model import CLIP
from trainer.sizes import ModelConfig
from wit_builder import files
from wit_builder.errors import UserError

# (ours, Hugging Face's, transposed); {} is a layer's number. Queries, keys and values, which ours holds in one, follow below.
_TOWERS = (("visual.transformer.resblocks", "vision_model.encoder.layers"), ("transformer.resblocks", "text_model.encoder.layers"))
_IN_LAYER = (
    ("attn.out_proj.weight", "self_attn.out_proj.weight"),
    ("attn.out_proj.bias", "self_attn.out_proj.bias"),
    ("ln_1.weight", "layer_norm1.weight"),
    ("ln_1.bias", "layer_norm1.bias"),
    ("mlp.c_fc.weight", "mlp.fc1.weight"),
    ("mlp.c_fc.bias", "mlp.fc1.bias"),
    ("mlp.c_proj.weight", "mlp.fc2.weight"),
    ("mlp.c_proj.bias", "mlp.fc2.bias"),
    ("ln_2.weight", "layer_norm2.weight"),
    ("ln_2.bias", "layer_norm2.bias"),
)
_OUTSIDE = (
    ("visual.class_embedding", "vision_model.embeddings.class_embedding", False),
    ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight", False),
    ("visual.conv1.weight", "vision_model.embeddings.patch_embedding.weight", False),
    ("visual.ln_pre.weight", "vision_model.pre_layrnorm.weight", False),
    ("visual.ln_pre.bias", "vision_model.pre_layrnorm.bias", False),
    ("visual.ln_post.weight", "vision_model.post_layernorm.weight", False),
    ("visual.ln_post.bias", "vision_model.post_layernorm.bias", False),
    ("visual.proj", "visual_projection.weight", True),
    ("token_embedding.weight", "text_model.embeddings.token_embedding.weight", False),
    ("positional_embedding", "text_model.embeddings.position_embedding.weight", False),
    ("ln_final.weight", "text_model.final_layer_norm.weight", False),
    ("ln_final.bias", "text_model.final_layer_norm.bias", False),
    ("text_projection", "text_projection.weight", True),
    ("logit_scale", "logit_scale", False),
)


def _layers(weights: dict[str, Tensor], prefix: str) -> Iterator[str]:
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.")
    yield from sorted({found[1] for name in weights if (found := pattern.match(name))}, key=int)


def to_hugging_face(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a ViT under the names of transformers' CLIPModel."""
    result = {theirs: weights[ours].t() if transposed else weights[ours] for ours, theirs, transposed in _OUTSIDE}
    for ours, theirs in _TOWERS:
        for layer in _layers(weights, ours):
            for ours_part, theirs_part in _IN_LAYER:
                result[f"{theirs}.{layer}.{theirs_part}"] = weights[f"{ours}.{layer}.{ours_part}"]
            for kind in ("weight", "bias"):
                for name, part in zip("qkv", weights[f"{ours}.{layer}.attn.in_proj_{kind}"].chunk(3)):
                    result[f"{theirs}.{layer}.self_attn.{name}_proj.{kind}"] = part
    return {name: tensor.contiguous() for name, tensor in result.items()}


def from_hugging_face(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The way back. Raises KeyError where one is missing."""
    result = {ours: weights[theirs].t() if transposed else weights[theirs] for ours, theirs, transposed in _OUTSIDE}
    for ours, theirs in _TOWERS:
        for layer in _layers(weights, theirs):
            for ours_part, theirs_part in _IN_LAYER:
                result[f"{ours}.{layer}.{ours_part}"] = weights[f"{theirs}.{layer}.{theirs_part}"]
            for kind in ("weight", "bias"):
                parts = [weights[f"{theirs}.{layer}.self_attn.{name}_proj.{kind}"] for name in "qkv"]
                result[f"{ours}.{layer}.attn.in_proj_{kind}"] = torch.cat(parts)
    return {name: tensor.contiguous() for name, tensor in result.items()}


def read_weights(path: str) -> dict[str, Tensor]:
    """Weights under OpenAI's names, of a safetensors file, a file of torch.save, or a Hugging Face folder.

    Raises:
      UserError: where it is none of these, or would need pickled code to run.
    """
    if files.is_folder(path):
        path = files.join(path, "model.safetensors")
    if path.endswith(".safetensors"):
        weights, _ = checkpoint.load(path)
    else:
        try:
            with files.open_read(path) as stream:
                weights = torch.load(stream, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError) as error:
            raise UserError(
                "cannot be read without running code from the file",
                where=path,
                fix="give *.safetensors or a plain state dict; of a TorchScript archive, save torch.jit.load(…).state_dict() first",
            ) from error
    weights = weights.get("state_dict", weights) if isinstance(weights, dict) else weights  # as open_clip's training saves it
    if not isinstance(weights, dict) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise UserError("no state dict of tensors", where=path, fix="give a checkpoint of ours, OpenAI's, open_clip's or Hugging Face's")
    ours = {name.removeprefix(MODEL_PREFIX): t for name, t in weights.items() if name.startswith(MODEL_PREFIX)}
    weights = ours or {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    if any(name.startswith("vision_model.") for name in weights):
        try:
            weights = from_hugging_face(weights)
        except KeyError as error:
            raise UserError(f"not a whole CLIPModel: no {error.args[0]}", where=path) from error
    extra = ("input_resolution", "context_length", "vocab_size")  # numbers that OpenAI's archives carry
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in weights.items() if name not in extra}


def resize_positions(weights: dict[str, Tensor], sizes: ModelConfig) -> None:
    """Fit the image positions to another picture size by bicubic interpolation, in place, as for ViT-L/14@336."""
    name = "visual.positional_embedding" if sizes.is_vit else "visual.attnpool.positional_embedding"
    side = sizes.image_size // (sizes.patch or 32)
    positions = weights.get(name)
    if positions is None or len(positions) == side**2 + 1:
        return
    before = round((len(positions) - 1) ** 0.5)
    grid = positions[1:].t().reshape(1, -1, before, before)  # [1, w, before, before]
    grid = F.interpolate(grid, size=(side, side), mode="bicubic", antialias=True, align_corners=False)
    weights[name] = torch.cat([positions[:1], grid.flatten(2)[0].t()])


def initialise_from(model: CLIP, path: str) -> str:
    """Put the weights of a file into a model; what the file lacks keeps its fresh weights. Returns what was done, in a line.

    Raises:
      UserError: where a shape differs, or a whole tower is missing.
    """
    weights = read_weights(path)
    resize_positions(weights, model.config)
    own = model.state_dict()
    for name, tensor in weights.items():
        if name in own and own[name].shape != tensor.shape:
            theirs, ours = list(tensor.shape), list(own[name].shape)
            fix = "give the --tokenizer it was trained with" if name.startswith("token_embedding") else "give its own --model"
            raise UserError(f"{name} has shape {theirs}, the model {ours}", where=path, fix=fix)
    missing = sorted(set(own) - set(weights))
    heads = ("image_head.", "text_head.", "logit_bias")
    if wanting := [name for name in missing if not name.startswith(heads) and not name.endswith("num_batches_tracked")]:
        raise UserError(f"{len(wanting)} tensors are missing, first {wanting[0]}", where=path, fix="give weights of the same --model")
    model.load_state_dict({name: weights.get(name, tensor) for name, tensor in own.items()})
    unused = len(set(weights) - set(own))
    return f"weights from {path}; {len(missing)} tensors keep their fresh values, {unused} of the file are not used"
