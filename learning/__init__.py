"""What detector and trainer share in torch: checkpoints, loop state, image tensors. Imports only `wit_builder`."""

import os

# OpenMP's threads spin while they wait for each other, which takes the cores from the data workers and, on a busy machine,
# makes two threads several times slower than one. It is read when torch is loaded: `dedup` and `trainer` import this first.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
