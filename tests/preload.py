"""Imported by the process that tests fork from: TensorFlow, no device used."""
import importlib

from configs.process import tensorflow_process

with tensorflow_process.starting():
  for module in ('resnet.evaluate', 'resnet.loop', 'resnet.train'):
    importlib.import_module(module)
