"""CLIP: models, losses, training, evaluation and export."""
