"""Using a trained network without its training data."""
