"""Writes Kubernetes manifests for training with several workers."""
