"""The losses, each in a few lines, over embeddings of unit length.

Every loss takes this rank's rows, `images` and `texts` [r, e], beside all ranks' `all_images` and `all_texts` [n, e], where row i of
the first stands at `first + i` of the second. `valid` bool [n] marks the pairs that count. A loss is this rank's share: shares
add up to the mean over all valid pairs, so gradients are summed over ranks.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def _cross_entropy(rows: Tensor, columns: Tensor, scale: Tensor, first: int, valid: Tensor) -> Tensor:
    """Sum over valid rows of −log softmax at the matching column."""
    logits = scale * rows @ columns.t()  # [r, n]
    logits = logits.masked_fill(~valid, float("-inf"))  # columns that do not count
    places = torch.arange(first, first + len(rows), device=rows.device)  # [r]
    own = valid[places]
    # Rows that do not count would be −inf throughout; they get a harmless logit, and no weight.
    logits = torch.where(own[:, None], logits, 0.0)
    return (F.cross_entropy(logits, places, reduction="none") * own).sum()


def contrastive(
    images: Tensor, texts: Tensor, all_images: Tensor, all_texts: Tensor, scale: Tensor, first: int, valid: Tensor, weight: float = 0.5
) -> Tensor:
    """InfoNCE both ways: CLIP's with `weight` 0.5; ConVIRT's weighs image to text λ, text to image 1 − λ."""
    to_text = _cross_entropy(images, all_texts, scale, first, valid)
    to_image = _cross_entropy(texts, all_images, scale, first, valid)
    return (weight * to_text + (1 - weight) * to_image) / valid.sum().clamp(min=1)


def sigmoid(images: Tensor, all_texts: Tensor, scale: Tensor, bias: Tensor, first: int, valid: Tensor) -> Tensor:
    """SigLIP (Zhai et al., 2023): each pair is one yes-or-no question; the sum over a row, averaged over rows."""
    logits = scale * images @ all_texts.t() + bias  # [r, n]
    places = torch.arange(first, first + len(images), device=images.device)  # [r]
    signs = torch.full_like(logits, -1.0).scatter(1, places[:, None], 1.0)  # 1 where the pair belongs together, else −1
    counted = valid[places][:, None] & valid
    return -(F.logsigmoid(signs * logits) * counted).sum() / valid.sum().clamp(min=1)


def caption_log_probability(logits: Tensor, tokens: Tensor) -> Tensor:
    """[b]: mean over each text's tokens after the first, end included, of log p.

    Args:
      logits: [b, l − 1, v], of the tokens 1…l−1.
      tokens: [b, l]; padding, zeros, stands after the largest id.
    """
    counted = torch.arange(1, tokens.shape[1], device=tokens.device) <= tokens.argmax(dim=-1, keepdim=True)  # [b, l − 1]
    losses = F.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten(), reduction="none").view_as(counted)
    return -(losses * counted).sum(-1) / counted.sum(-1).clamp(min=1)


def words_log_probability(logits: Tensor, tokens: Tensor) -> Tensor:
    """Mean over a text's words of log softmax at that word (Joulin et al., 2016).

    Args:
      logits: [b, v].
      tokens: [b, l], start and end included; those two are no words.

    Returns:
      [b]; or [b, c] for tokens [c, l] of c texts that are each scored for each row of logits [b, 1, v].
    """
    places = torch.arange(tokens.shape[-1], device=tokens.device)
    words = (places > 0) & (places < tokens.argmax(dim=-1, keepdim=True))  # [b, l]
    scores = logits.float().log_softmax(-1)  # [b, v]
    chosen = scores.gather(1, tokens) if logits.ndim == 2 else scores[:, 0][:, tokens]  # [b, l] or [b, c, l]
    return (chosen * words).sum(-1) / words.sum(-1).clamp(min=1)
