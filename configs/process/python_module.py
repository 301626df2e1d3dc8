"""Starts Python modules that run the code of this process, wherever they run.

`python -m` puts the working directory first on the module search path, so that
a user's own resnet.py, or a configs/ folder, would be imported in place of the
project. Every Python process that the project starts is made from these two:

  subprocess.Popen([*python_module.command('resnet.train'), '--jit=true'],
                   env=python_module.environment(os.environ))
"""
from collections.abc import Mapping, Sequence
import os
import pathlib
import site
import sys

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def command(module: str,
            python: Sequence[str] = (sys.executable,)) -> tuple[str, ...]:
  """Returns the words that run a module without searching the working directory.

  Args:
    module: dotted name, 'resnet.train'.
    python: the words that start Python 3.11 or later.
  """
  return (*python, '-P', '-m', module)


def variables(environ: Mapping[str, str]) -> dict[str, str]:
  """Returns the variables to add to environ so that a process finds this code.

  Empty if the code is installed in a folder that every process of this Python
  searches anyway; else PYTHONPATH, with the code's folder first.
  """
  if _ROOT in [pathlib.Path(folder).resolve() for folder in _site_folders()]:
    return {}
  others = environ.get('PYTHONPATH')
  return {'PYTHONPATH': os.pathsep.join(
      [os.fspath(_ROOT), *([others] if others else [])])}


def environment(environ: Mapping[str, str]) -> dict[str, str]:
  """Returns environ with `variables` added."""
  return {**environ, **variables(environ)}


def _site_folders():
  return [*site.getsitepackages(), site.getusersitepackages()]
