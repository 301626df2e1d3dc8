"""Submits training jobs to a Slurm cluster."""
