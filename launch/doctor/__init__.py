"""Checks all machines of a job before it starts."""
