"""Evaluating a network: sums over a split, and what they hide."""
