"""What the paper measures with a trained model: NumPy metrics, the plumbing from checkpoints to features, and commands."""
