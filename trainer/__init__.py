"""CLIP: models, losses, training, evaluation and export."""

import os

# OpenMP's threads spin while they wait for each other, which takes the cores from the data workers and, on a busy machine,
# makes two threads several times slower than one. It is read when torch is loaded, so it stands here.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
