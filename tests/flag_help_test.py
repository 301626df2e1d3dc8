"""--help and --version of every program."""
import configparser
import importlib
import pathlib
import re
import resource
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
    r'^  --(?:\[no\])?(\w+)(?:=\S*)?(?:, -\w)?(?=\s)'
    # The text, behind the name or below it, in a column of its own.
    r'((?: .*)?\n(?: {29}.*\n?)*)', re.MULTILINE)
_DEFAULT = re.compile(r' \([^()]*\)$')
_GROUP = re.compile(r'^(\S.*):\n  --', re.MULTILINE)
_WITHOUT_TENSORFLOW = """
import runpy, sys
for name in ('tensorflow', 'keras', 'tensorflow_datasets'):
  sys.modules[name] = None  # Makes `import` raise ImportError.
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
"""


def _flags(text):
  """Returns {name: help text, with its default} of what --help printed."""
  return {name: ' '.join(words.split()) for name, words in _FLAG.findall(text)}


def test_flags_are_read_from_the_help():
  column = 29 * ' '
  assert _flags(
      'A program.\n\nFlags:\n  --[no]flip                 Flips\n'
      f'{column}images. (false)\n  --jit=a|b\n{column}Compiles.\n'
      '  --help, -h                 This.\n\nText.\n'
  ) == {'flip': 'Flips images. (false)', 'jit': 'Compiles.', 'help': 'This.'}


@pytest.mark.parametrize('program', _PROGRAMS)
def test_help_is_the_docstring_and_the_flags_of_the_program(program):
  result = processes.run(program, '--help')
  assert (result.code, result.err) == (0, '')
  about = (importlib.import_module(program).__doc__ or '').strip()
  assert result.out.startswith(about)
  # What to type stands in it.
  assert f'python -m {program.removesuffix(".__main__")} ' in about
  texts = _flags(result.out.partition(':\n  --config.')[0])
  assert texts
  for name, text in texts.items():
    assert _DEFAULT.sub('', text).endswith('.'), (name, text)
    assert not [words for words in _NOT_IN_HELP if words in text], (name, text)
    # Durations have one suffix for each unit.
    assert not re.search('(seconds|minutes|_s|timeout)$', name), name
  assert max(map(len, result.out.splitlines())) <= 80


@pytest.mark.parametrize('word', ['-h', '--help', '-help', '-?', '--helpshort'])
def test_help_has_several_names(word):
  assert processes.run('resnet.runs', word) == processes.run(
      'resnet.runs', '--help')


def test_each_flag_shows_its_values_and_its_default():
  shown = processes.run('resnet.train', '--help').out
  for line in (
      '  --strategy=one_device|mirrored|multi_worker_mirrored\n',
      '  --keep_last=N              How many of the newest checkpoints to '
      'keep. (3)\n',
      '  --workdir=PATH             The run folder. Default: runs/<recipe>.\n',
      '  --profile_steps=FIRST:LAST\n', '  --log_to=wandb|mlflow '):
    assert line in shown, line
  texts = _flags(shown)
  assert texts['check_crc'].endswith(' (true)')
  assert texts['extend'].endswith(' (false)')
  assert texts['memory_gib'].endswith(' (4)')
  assert texts['strategy'].endswith(' (mirrored)')


def test_flags_stand_in_the_group_where_they_are_defined():
  shown = processes.run('resnet.train', '--help').out
  flags_part = shown.partition('\nRecipes')[0]
  assert _GROUP.findall(flags_part) == [
      'Recipe', 'Run', 'Logging, evaluation and checkpoints', 'Watching',
      'Devices', 'Workers', 'Reading data', 'Help']
  groups = dict(zip(_GROUP.findall(flags_part), map(
      _flags, re.split(r'^\S.*:\n(?=  --)', flags_part, flags=re.M)[1:])))
  assert groups['Recipe'].keys() == {'config'}
  assert {'workdir', 'init_from', 'extend'} <= groups['Run'].keys()
  assert 'save_every_secs' in groups['Logging, evaluation and checkpoints']
  assert {'worker_rank', 'collectives'} <= groups['Workers'].keys()
  assert {'data_dir', 'memory_gib'} <= groups['Reading data'].keys()
  # A flag whose name absl has too is among those of the program.
  assert list(_flags(processes.run('launch.local.__main__', '--help').out))[
      4] == 'log_dir'


def test_the_trainer_has_its_shared_flags_in_its_help():
  names = _flags(processes.run('resnet.train', '--help').out).keys()
  assert {'config', 'workdir', 'strategy', 'data_dir', 'worker_rank',
          'save_every_secs'} <= names
  assert 'verbosity' not in names


def test_helpfull_lists_absl_flags_too():
  result = processes.run('launch.local.__main__', '--helpfull')
  assert (result.code, result.err) == (0, '')
  for flag in ('--workers', '--verbosity', '--[no]version', '--[no]help'):
    assert f'{flag}: ' in result.out


@pytest.mark.parametrize('program', _PROGRAMS)
def test_version(program):
  assert processes.run(program, '--version') == (
      0, f'resnet-trainer {VERSION}\n', '')


@pytest.mark.parametrize('program', _PROGRAMS)
def test_help_needs_neither_tensorflow_nor_half_a_second(program):
  before = resource.getrusage(resource.RUSAGE_CHILDREN)
  done = subprocess.run(
      [sys.executable, '-c', _WITHOUT_TENSORFLOW,
       program.removesuffix('.__main__'), '--help'], cwd=_ROOT,
      capture_output=True, text=True, check=False)
  after = resource.getrusage(resource.RUSAGE_CHILDREN)
  assert (done.returncode, done.stderr) == (0, '')
  assert '--completion=bash|zsh' in done.stdout
  # Time on the processor, of which others take nothing; 0.07 to 0.3 here.
  assert (after.ru_utime + after.ru_stime
          - before.ru_utime - before.ru_stime) < 1.0


def test_the_version_is_a_number_that_the_package_has_too():
  assert re.fullmatch(r'\d+\.\d+\.\d+', VERSION)
  assert resnet.__version__ == VERSION
