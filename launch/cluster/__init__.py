"""Finds the addresses of the workers in flags and in the environment."""
