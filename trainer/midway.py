"""Evaluations on the way: how well a model in training classifies or retrieves, each time a checkpoint is written."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

import torch

from trainer.evaluate.encoder import TYPES, Encoder
from trainer.evaluate.features import extract, labelled
from trainer.evaluate.probe import main_score
from trainer.evaluate.prompts import SINGLE
from trainer.evaluate.retrieval import captioned, retrieval
from trainer.evaluate.zero_shot import zero_shot
from trainer.load import Loaded, Preprocessing
from trainer.model import CLIP
from trainer.predictive import PREDICTIVE
from trainer.tokenizer import Tokenizer
from wit_builder.errors import UserError
from wit_builder.evalsets import EvaluationSet, parse_set_flags


class Midway:
    """The sets of `--eval NAME=DIR`, and what a model scores on them.

    Args:
      given: values of the flag. A set with classes is classified zero-shot by its own prompts, else by "a photo of a {}."; of
        one with captions alone, the right picture is looked for among all.
      objective: what is trained.
      tokenizer: the model's.
      precision: in which the model computes.

    Raises:
      UserError: where a set cannot be opened, or the objective makes no embeddings.
    """

    def __init__(self, given: Sequence[str], objective: str, tokenizer: Tokenizer, precision: torch.dtype) -> None:
        if objective in PREDICTIVE:
            fix = "leave it out; trainer compare-objectives evaluates such models"
            raise UserError(f"{objective} embeds no text", where="--eval", fix=fix)
        self.sets = parse_set_flags(given)
        self.tokenizer = tokenizer
        self.precision = next(name for name, kind in TYPES.items() if kind == precision)

    def evaluate(self, model: CLIP) -> dict[str, float]:
        """By set: accuracy, or recall at 1 from text to image; a share. The model is left in training mode, as it was.

        Raises:
          UserError: where a set holds nothing that can be used.
        """
        preprocessing = Preprocessing(model.config.image_size)
        device = next(model.parameters()).device
        model.eval()
        try:
            encoder = Encoder(Loaded(model, self.tokenizer, preprocessing, {}), "in training", device, self.precision)
            with tempfile.TemporaryDirectory(prefix="evaluation-") as cache:  # of no use for the next weights
                return {opened.name: _score(encoder, opened, cache) for opened in self.sets}
        finally:
            model.train()


def _score(encoder: Encoder, opened: EvaluationSet, cache: str) -> float:
    features = extract(encoder, opened, "test", cache)
    if opened.class_names:
        features = labelled(opened, features, "test", allow_empty=True)
        metrics = zero_shot(encoder, opened, opened.class_names, opened.templates or SINGLE, features, cache).metrics
        return main_score(metrics)
    metrics, _ = retrieval(encoder, opened, captioned(opened, features), cache)
    return metrics["text_to_image"]["recall_at_1"]["value"]
