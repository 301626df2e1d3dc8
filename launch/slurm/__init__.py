"""Trains on a Slurm cluster."""
