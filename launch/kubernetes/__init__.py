"""Writes what Kubernetes needs to train with several workers."""
