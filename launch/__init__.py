"""Starting processes: this machine, Slurm, Kubernetes. Imports no TensorFlow."""
