"""--help and --version of every program."""
import configparser
import importlib
import pathlib
import re
import subprocess
import sys

import pytest

from configs.process.version import VERSION
import resnet
from tests import processes

_ROOT = pathlib.Path(__file__).parent.parent
_SETUP = configparser.ConfigParser()
_SETUP.read(_ROOT / 'setup.cfg')
_PROGRAMS = [
    'resnet.tools.survey',  # Started by the doctor; not installed as a command.
    *sorted(re.findall(r'= ([\w.]+):run', _SETUP['options.entry_points'][
        'console_scripts']))]
_NOT_IN_HELP = [
    'none:', ' mend', 'whoever', 'so many', 'is told', ' stands', 'besides',
    ' is no ']
_FLAG = re.compile(
    r'^  (?:-\S,)?--(?:\[no\])?(\w+):'
    # The text, continued on indented lines, up to the default and the type.
    r'((?:.*\n)(?:    (?!\((?:default:|an? )).*\n)*)', re.MULTILINE)
_REPEATED = '; repeat this option to specify a list of values'  # absl adds it.
_WITHOUT_TENSORFLOW = """
import runpy, sys
for name in ('tensorflow', 'keras', 'tensorflow_datasets'):
  sys.modules[name] = None  # Makes `import` raise ImportError.
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
"""


def _flags(text):
  """Returns {name: help text} of what --help printed."""
  return {name: ' '.join(words.split()).removesuffix(_REPEATED)
          for name, words in _FLAG.findall(text)}


def test_flags_are_read_from_the_help():
  assert _flags(
      'A program.\n\nFlags:\n  --[no]flip: Flips\n    images.\n'
      "    (default: 'false')\n  --jit: <a|b>: Compiles\n    (or not).\n"
      '    (an integer)\n  -x,--workers: Workers.\n\n--helpfull lists all.\n'
  ) == {'flip': 'Flips images.', 'jit': '<a|b>: Compiles (or not).',
        'workers': 'Workers.'}


@pytest.mark.parametrize('program', _PROGRAMS)
def test_help_is_the_docstring_and_the_flags_of_the_program(program):
  result = processes.run(program, '--help')
  assert (result.code, result.err) == (0, '')
  module = importlib.import_module(program)
  assert result.out.startswith(module.__doc__.strip())
  texts = _flags(result.out)
  assert texts
  for name, text in texts.items():
    assert text.endswith('.'), (name, text)
    assert not [words for words in _NOT_IN_HELP if words in text], (name, text)
    # Durations have one suffix for each unit.
    assert not re.search('(seconds|minutes|_s|timeout)$', name), name


def test_the_trainer_has_its_shared_flags_in_its_help():
  names = _flags(processes.run('resnet.train', '--help').out).keys()
  assert {'config', 'workdir', 'strategy', 'data_dir', 'worker_rank',
          'save_every_secs'} <= names
  assert 'verbosity' not in names


def test_helpfull_lists_absl_flags_too():
  result = processes.run('launch.local.__main__', '--helpfull')
  assert (result.code, result.err) == (0, '')
  assert {'workers', 'verbosity', 'version', 'help'} <= (
      _flags(result.out).keys())


@pytest.mark.parametrize('program', _PROGRAMS)
def test_version_is_printed_without_tensorflow(program):
  done = subprocess.run(
      [sys.executable, '-c', _WITHOUT_TENSORFLOW,
       program.removesuffix('.__main__'), '--version'], cwd=_ROOT,
      capture_output=True, text=True, check=False)
  assert (done.returncode, done.stdout, done.stderr) == (
      0, f'resnet-trainer {VERSION}\n', '')


def test_the_version_is_a_number_that_the_package_has_too():
  assert re.fullmatch(r'\d+\.\d+\.\d+', VERSION)
  assert resnet.__version__ == VERSION
