"""Starts Python modules that run the code of this process, wherever they run.

`python -m` puts the working directory first on the module search path, so that
a user's own resnet.py, or a configs/ folder, would be imported in place of the
project. Every Python process that the project starts is built from these two:

  subprocess.Popen([*python_module.command('resnet.train'), '--jit=true'],
                   env=python_module.environment(os.environ))
"""
from collections.abc import Mapping, Sequence
import os
import pathlib
import site
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]  # Holds the packages.


def command(module: str,
            python: Sequence[str] = (sys.executable,)) -> tuple[str, ...]:
  """Returns the words that run a module, ignoring the working directory.

  Args:
    module: dotted name, 'resnet.train'.
    python: the words that start Python 3.11 or later.
  """
  return (*python, '-P', '-m', module)


def variables(environ: Mapping[str, str],
              searched_last: Sequence[str] = ()) -> dict[str, str]:
  """Returns the variables to add to environ so that a process finds this code.

  Args:
    environ: the environment that the process has otherwise.
    searched_last: folders to search after those in PYTHONPATH.

  Returns:
    {'PYTHONPATH': the code's folder, then the others}. Empty if there is
    nothing to add: no folder is to be searched last, and the code is either
    first in PYTHONPATH or installed where this Python always searches.
  """
  given = environ.get('PYTHONPATH')
  folders = given.split(os.pathsep) if given else []
  is_first = folders[:1] == [os.fspath(ROOT)]
  if not searched_last and (is_first or ROOT in _site_folders()):
    return {}
  if not is_first:
    folders.insert(0, os.fspath(ROOT))
  folders += [folder for folder in searched_last if folder not in folders]
  return {'PYTHONPATH': os.pathsep.join(folders)}


def environment(environ: Mapping[str, str]) -> dict[str, str]:
  """Returns environ with `variables` added."""
  return {**environ, **variables(environ)}


def _site_folders():
  return [pathlib.Path(folder).resolve() for folder in (
      *site.getsitepackages(), site.getusersitepackages())]
