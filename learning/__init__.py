"""What detector and trainer share in torch: checkpoints, loop state, image tensors. Imports only `wit_builder`."""
