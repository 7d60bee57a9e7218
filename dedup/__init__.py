"""Near-duplicate detector and the overlap of training data with evaluation sets (paper, section 5)."""

import learning  # noqa: F401  (before torch: it sets how OpenMP waits)
