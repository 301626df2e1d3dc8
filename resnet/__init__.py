"""Exact, resumable training of ResNets in TensorFlow.

  import resnet

  run = resnet.train('digits_resnet8', 'runs/digits')
  run.predict(images)
  resnet.load('runs/digits', 'best').evaluate(details=True)

resnet/api.py has these functions. TensorFlow is imported by the first call that
needs it, so importing this package costs nothing.
"""
import importlib
import sys
import types
from typing import Any

from configs.process import version

__version__ = version.VERSION
_FUNCTIONS = ['load', 'recipe', 'recipes', 'Run', 'train', 'UserError']


class _Package(types.ModuleType):
  """This package. Its function `train` hides the module of the same name."""

  def __getattribute__(self, name: str) -> Any:
    if name in _FUNCTIONS:
      return getattr(importlib.import_module('resnet.api'), name)
    return super().__getattribute__(name)

  def __dir__(self):
    return sorted({*super().__dir__(), *_FUNCTIONS})


sys.modules[__name__].__class__ = _Package
