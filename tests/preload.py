"""Imported by the process that tests fork from: TensorFlow, no device used."""
from configs.process import tensorflow_process

with tensorflow_process.starting():
  pass
