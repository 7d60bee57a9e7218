"""Checkpoints: tensors and JSON in one safetensors file. Nothing is ever unpickled, so a file from anywhere is safe to open.

A file is written under a temporary name and renamed, so a final name is always whole; its header carries a SHA-256 of
what it holds, checked on loading. The same tensors and metadata give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as serialise_tensors
from torch import Tensor

from wit_builder import files
from wit_builder.errors import UserError

_METADATA = "webimagetext"  # the safetensors header's key for our JSON
_DIGEST = "webimagetext_sha256"


def digest_of(tensors: Mapping[str, Tensor], metadata: str = "") -> str:
    """SHA-256, in hex, of the metadata text and of every tensor's name, type, shape and values, in order of name."""
    digest = hashlib.sha256(metadata.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def save(path: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> str:
    """Write a checkpoint atomically, and return the SHA-256 of its contents (`digest_of`).

    Args:
      path: local, or on any filesystem that `wit_builder.files` reaches.
      tensors: on any device, in any memory layout.
      metadata: JSON values only.
    """
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(metadata, sort_keys=True, ensure_ascii=False)
    digest = digest_of(whole, text)
    # One header entry: safetensors does not fix the order of several, and equal checkpoints must have equal bytes.
    header = json.dumps({_METADATA: text, _DIGEST: digest}, sort_keys=True)
    files.write_bytes(path, serialise_tensors(_unshared(whole), metadata={_METADATA: header}))
    return digest


def load(path: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, on the CPU, and metadata of a checkpoint; the metadata is empty for files that `save` did not write.

    Raises:
      UserError: where the file is not a whole safetensors file, or its contents differ from what was written.
    """
    data = files.read_bytes(path)
    try:
        tensors = parse_tensors(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__") or {}
        ours = json.loads(header[_METADATA]) if _METADATA in header else None
        metadata = json.loads(ours[_METADATA]) if ours else {}
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"not a whole safetensors file: {error}", where=path, fix="give a file that was saved here, or *.safetensors"
        ) from error
    if ours and digest_of(tensors, ours[_METADATA]) != ours[_DIGEST]:
        raise UserError("the contents differ from what was written (SHA-256)", where=path, fix="use another copy or an earlier checkpoint")
    return tensors, metadata


def _unshared(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that share memory (tied weights) are written once each: safetensors refuses to guess."""
    seen: set[int] = set()
    result = {}
    for name, tensor in tensors.items():
        result[name] = tensor.clone() if tensor.data_ptr() in seen and tensor.numel() else tensor
        seen.add(tensor.data_ptr())
    return result
