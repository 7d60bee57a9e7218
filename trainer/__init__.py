"""CLIP: models, losses, training, evaluation and export."""

import learning  # noqa: F401  (before torch: it sets how OpenMP waits)
