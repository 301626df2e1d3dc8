"""What TensorBoard shows of a run, beyond its scalars."""
