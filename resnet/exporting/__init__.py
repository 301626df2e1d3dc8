"""From a trained network to files that others can use."""
