"""Trained or fresh weights in the form that OpenAI's code, open_clip or Hugging Face's transformers load."""

from __future__ import annotations

import io
import json
from collections import OrderedDict

import torch
from safetensors.torch import save as serialise_tensors

from trainer.load import Preprocessing
from trainer.model import CLIP
from trainer.sizes import ModelConfig
from trainer.tokenizer import MERGES_OF_OPENAI, Tokenizer
from trainer.weights import to_hugging_face
from wit_builder import files
from wit_builder.errors import UserError

FORMATS = ("openai", "open_clip", "huggingface")


def open_clip_config(sizes: ModelConfig) -> dict:
    """open_clip's model configuration: `vision_cfg`, `text_cfg`, and QuickGELU, without which the numbers differ."""
    if sizes.is_vit:
        vision = {"layers": sizes.image_layers[0], "width": sizes.image_width, "patch_size": sizes.patch}
        vision["head_width"] = sizes.image_width // sizes.image_heads
    else:
        vision = {"layers": list(sizes.image_layers), "width": sizes.image_width, "patch_size": None}
        vision["head_width"] = sizes.image_features // sizes.image_heads
    text = {"context_length": sizes.context, "vocab_size": sizes.vocabulary, "width": sizes.text_width, "heads": sizes.text_heads}
    return {
        "embed_dim": sizes.embed,
        "quick_gelu": True,
        "vision_cfg": {"image_size": sizes.image_size, **vision},
        "text_cfg": {**text, "layers": sizes.text_layers},
    }


def hugging_face_config(sizes: ModelConfig) -> dict:
    """config.json of transformers' CLIPModel."""
    shared = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "projection_dim": sizes.embed}
    text = {
        "hidden_size": sizes.text_width,
        "intermediate_size": sizes.text_width * 4,
        "num_attention_heads": sizes.text_heads,
        "num_hidden_layers": sizes.text_layers,
        "max_position_embeddings": sizes.context,
        "vocab_size": sizes.vocabulary,
        "bos_token_id": sizes.vocabulary - 2,
        "eos_token_id": sizes.vocabulary - 1,
        "pad_token_id": sizes.vocabulary - 1,
    }
    vision = {
        "hidden_size": sizes.image_width,
        "intermediate_size": sizes.image_width * 4,
        "num_attention_heads": sizes.image_heads,
        "num_hidden_layers": sizes.image_layers[0],
        "image_size": sizes.image_size,
        "patch_size": sizes.patch,
    }
    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": sizes.embed,
        "text_config": {**shared, **text, "model_type": "clip_text_model"},
        "vision_config": {**shared, **vision, "model_type": "clip_vision_model"},
    }


def hugging_face_preprocessor(preprocessing: Preprocessing) -> dict:
    """preprocessor_config.json of CLIPImageProcessor."""
    size = preprocessing.size
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": size},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": size, "width": size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocessing.mean),
        "image_std": list(preprocessing.std),
        "do_convert_rgb": True,
    }


def check_exportable(sizes: ModelConfig, form: str) -> None:
    """Raises UserError where the other code has no such model."""
    problem = ""
    if sizes.text != "transformer" or sizes.projection != "linear":
        problem = f"{form} knows neither a {sizes.text} text encoder nor a {sizes.projection} projection like this model's"
    elif sizes.logit_bias and form != "open_clip":
        problem = f"{form} has no logit bias (the model was trained with SigLIP's loss)"
    elif form == "huggingface" and not sizes.is_vit:
        problem = "Hugging Face's CLIPModel has no ResNet"
    elif form == "openai":
        # OpenAI's code derives the number of heads from the width.
        image_heads = sizes.image_width // 64 if sizes.is_vit else sizes.image_width * 32 // 64
        if image_heads != sizes.image_heads or sizes.text_width // 64 != sizes.text_heads:
            problem = "OpenAI's code takes heads to be 64 wide, and this model's are not"
    if problem:
        raise UserError(problem, where=f"--format {form}", fix=f"another of {', '.join(FORMATS)}")


def export(model: CLIP, tokenizer: Tokenizer | None, form: str, output: str) -> None:
    """Write a model for other code.

    Args:
      form: `openai` or `open_clip`: a file, *.pt (torch.save of a plain state dict) or *.safetensors; open_clip's gets its
        model configuration beside it, under the same name with .json; both get their own tokenizer's merges, as .merges.txt.gz.
        `huggingface`: a folder.

    Raises:
      UserError: where the other code has no such model, or the file's name ends in neither.
    """
    sizes = model.config
    check_exportable(sizes, form)
    weights = OrderedDict((name, tensor.detach().cpu().contiguous().clone()) for name, tensor in model.state_dict().items())
    if form == "huggingface":
        if files.exists(files.join(output, "config.json")):
            raise UserError("there is a model in this folder already", where=output, fix="give another --output")
        files.write_json(files.join(output, "preprocessor_config.json"), hugging_face_preprocessor(Preprocessing(sizes.image_size)))
        files.write_bytes(files.join(output, "model.safetensors"), serialise_tensors(to_hugging_face(weights), metadata={"format": "pt"}))
        if tokenizer is not None:
            tokenizer.save(files.join(output, "tokenizer.json"))
            settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": sizes.context}
            settings |= {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
            files.write_json(files.join(output, "tokenizer_config.json"), settings)
        files.write_json(files.join(output, "config.json"), hugging_face_config(sizes))  # last: with it the folder is a model
        return
    if output.endswith(".safetensors"):
        data = serialise_tensors(dict(weights), metadata={"format": "pt"})
    elif output.endswith(".pt"):
        buffer = io.BytesIO()
        torch.save(weights, buffer)
        data = buffer.getvalue()
    else:
        raise UserError("the output's name says its kind", where=output, fix="end it in .pt or .safetensors")
    files.write_bytes(output, data)
    stem = output.rsplit(".", 1)[0]
    if tokenizer is not None and len(tokenizer.merges) <= MERGES_OF_OPENAI:
        tokenizer.save_merges(stem + ".merges.txt.gz")
    if form == "open_clip":
        files.write_bytes(stem + ".json", (json.dumps(open_clip_config(sizes), indent=2) + "\n").encode())
