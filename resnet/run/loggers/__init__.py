"""Sends the figures of a run to other programs."""
