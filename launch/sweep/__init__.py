"""Trains once for each of several settings and seeds."""
