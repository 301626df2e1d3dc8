"""Trains in several processes on this machine: `python -m launch.local`."""
