"""What is minimised: weights, targets and regularisation; the presets of other systems."""
