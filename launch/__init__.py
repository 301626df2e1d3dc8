"""Starting processes on machines and clusters. Imports no TensorFlow."""
