"""Weights that a run starts from: files of several kinds, and other runs."""
