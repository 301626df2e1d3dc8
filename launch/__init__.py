"""Starts the trainer on machines and clusters. Needs no TensorFlow."""
