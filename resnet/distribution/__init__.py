"""Devices, workers, and what they tell each other."""
