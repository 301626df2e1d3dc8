"""Tab completes flags, fields, recipes and values, in real shells."""
import os
import pathlib
import pty
import re
import select
import shutil
import sys
import time

import pytest

from tests import processes

_ROOT = pathlib.Path(__file__).parents[2]
_SECS = 20  # Until a shell that does not answer counts as hung.


def _complete(word, program='resnet.train'):
  result = processes.run(program, f'--complete={word}')
  assert (result.code, result.err) == (0, '')
  return result.out.split()


@pytest.mark.parametrize('word, expected', [
    ('--log_e', ['--log_every_steps=']),
    ('-log_e', ['--log_every_steps=']),
    ('--exte', ['--extend']),
    ('--noexte', ['--noextend']),
    ('--conf', ['--config=', '--config.']),
    ('--config.sc', ['--config.schedule.']),
    ('--config.ema.', ['--config.ema.decay=', '--config.ema.warmup=',
                       '--config.ema.evaluated=']),
    ('--config=cifar100', ['cifar100_resnet18']),
    ('--config=tutorials/cifar10_v', ['tutorials/cifar10_vgg16']),
    ('--config cifar100', ['cifar100_resnet18']),
    ('--jit=', ['auto', 'true', 'false']),
    ('--log_to=w', ['wandb']),
    ('--config.schedule.name=', ['constant', 'step', 'cosine', 'polynomial']),
    ('--config.ema.warmup=f', ['false']),
    ('--extend=', ['true', 'false']),
    ('--extend ', []),  # Not its value, but the next word.
    ('--workdir=', []), ('--zzz', []), ('', []), ('--zzz=', []),
    ('--helpf', ['--helpfull']), ('--config.code', [])])
def test_what_a_word_of_the_trainer_can_become(word, expected):
  assert _complete(word) == expected


def test_all_groups_and_flags_are_there():
  found = _complete('--')
  assert len(found) == len(set(found)) > 30
  assert {'--config=', '--config.', '--workdir=', '--extend', '--help'} <= (
      set(found))
  groups = _complete('--config.')
  assert {'--config.model.', '--config.seed='} <= set(groups)
  assert len(groups) < 30


@pytest.mark.parametrize('program, word, expected', [
    ('launch.local.__main__', '--workers', ['--workers=']),
    ('launch.sweep.__main__', '--config=digits', ['digits_resnet8']),
    ('launch.doctor.__main__', '--wait', ['--wait_secs=']),
    ('resnet.predict', '--form', ['--format=']),
    ('pipelines.prepare', '--max', ['--max_side='])])
def test_other_programs(program, word, expected):
  assert _complete(word, program) == expected


def test_a_launcher_completes_flags_of_the_trainer():
  result = processes.run('launch.local.__main__', '--', '--complete=--log_e')
  assert (result.code, result.out) == (0, '--log_every_steps=\n')


def test_another_shell_is_refused():
  result = processes.run('resnet.train', '--completion=fish')
  assert (result.code, result.err) == (
      2, 'error: --completion=fish is not allowed: give one of bash, zsh.\n')


class _Shell:
  """A shell at a terminal, as a user has it."""

  def __init__(self, name):
    words = {'bash': ['bash', '--norc', '--noprofile', '-i'],
             'zsh': ['zsh', '-f', '-i']}[name]
    pid, self._terminal = pty.fork()
    if not pid:
      os.chdir(_ROOT)
      os.environ.update(PS1='READY ', TERM='dumb', COLUMNS='200')
      os.execvp(words[0], words)
    self._pid = pid
    self.shows(r'READY ')

  def type(self, text):
    os.write(self._terminal, text.encode())

  def shows(self, pattern):
    """Reads until a pattern comes; returns what was read."""
    text, end = '', time.monotonic() + _SECS
    while not re.search(pattern, text):
      assert time.monotonic() < end, repr(text)
      if select.select([self._terminal], [], [], 1)[0]:
        text += os.read(self._terminal, 4096).decode().replace('\a', '')
    return text

  def close(self):
    os.close(self._terminal)  # Hangs it up.
    os.waitpid(self._pid, 0)


@pytest.fixture(params=['bash', 'zsh'])
def shell(request):
  if not shutil.which(request.param):
    pytest.skip(f'{request.param} is not installed')
  made = _Shell(request.param)
  python = f'{sys.executable} -m resnet.train'
  made.type(f'eval "$({python} --completion={request.param})"\n')
  made.type('echo $((6 * 7))nd\n')
  made.shows('42nd[^$]*READY ')
  yield made
  made.close()


@pytest.mark.slow
def test_a_shell_completes(shell):
  for typed, shown in (
      ('-m resnet.train --config.sched', r'--config\.schedule\.'),
      # bash splits words at =, so what is before it must not come twice.
      ('-m resnet.train --config=cifar100', ' --config=cifar100_resnet18 '),
      ('-m resnet.train --config cifar100', ' --config cifar100_resnet18 '),
      ('-m resnet.train --config.ema.warmup=t', r' --config\.\S+warmup=true '),
      ('-m launch.local --workers=2 -- --log_e', ' -- --log_every_steps='),
      ('-m resnet.train --workdir=pyproj', ' --workdir=pyproject.toml'),
      ('-m resnet.predict --workdir=x pyproj', 'x pyproject.toml'),
      ('pyproj', ' pyproject.toml')):
    shell.type(f'{sys.executable} {typed}\t')
    shell.shows(shown)
    shell.type('\x15')  # Ctrl-U empties the line.
