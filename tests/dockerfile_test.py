"""launch/Dockerfile as text, since there is no Docker to build it with."""
import configparser
import json
import pathlib
import re
import subprocess

import pytest

_ROOT = pathlib.Path(__file__).parent.parent


def _stages():
  """[(instruction, its text), ...] of each stage; first what precedes them."""
  text = (_ROOT / 'launch/Dockerfile').read_text()
  text = re.sub('^#.*\n', '', text, flags=re.MULTILINE).replace('\\\n', '')
  stages = [[]]
  for line in filter(None, text.splitlines()):
    name, _, rest = line.partition(' ')
    if name == 'FROM':
      stages.append([])
    stages[-1].append((name, rest))
  return stages


def _texts(stage, name):
  return [text for instruction, text in stage if instruction == name]


def test_the_base_has_no_default_and_is_the_same_throughout():
  before, build, final = _stages()
  assert before == [('ARG', 'BASE')]
  assert build[:2] == [('FROM', '${BASE} AS build'), ('ARG', 'BASE')]
  assert final[0] == ('FROM', '${BASE}')


@pytest.mark.parametrize('base, code', [
    (f'python:3.12-slim@sha256:{"0" * 64}', 0), ('python:3.12-slim', 2),
    ('python@latest', 2)])
def test_a_base_without_a_digest_is_refused(base, code):
  check = _texts(_stages()[1], 'RUN')[0]
  done = subprocess.run(['sh', '-c', check], env={'BASE': base}, text=True,
                        capture_output=True, check=False)
  assert done.returncode == code
  assert done.stderr == (code and f'error: BASE={base} has no digest: give '
                         'NAME@sha256:...\n' or '')


def test_what_is_installed_is_the_checkout():
  _, build, final = _stages()
  metadata = configparser.ConfigParser()
  metadata.read(_ROOT / 'setup.cfg')
  copied = ' '.join(_texts(build, 'COPY')).split()
  assert set(metadata['options']['packages'].split()) < set(copied)
  assert {'setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE'} < set(copied)
  assert 'PROJECT=.' in _texts(build, 'ARG')
  assert 'pip install --no-cache-dir "${PROJECT}"' in _texts(build, 'RUN')[1]
  # Neither sources nor what installed them.
  assert 'pip uninstall --yes pip' in _texts(build, 'RUN')[1]
  assert _texts(final, 'COPY') == ['--from=build /opt/resnet /opt/resnet']
  assert not re.search('pip|apt', ''.join(_texts(final, 'RUN')))


def test_nobody_is_root_in_it():
  final = _stages()[2]
  assert _texts(final, 'USER') == ['1000:1000']
  names = [name for name, _ in final]
  assert names.index('USER') > max(
      index for index, name in enumerate(names) if name == 'RUN')
  assert 'chown 1000:1000 "${HOME}"' in _texts(final, 'RUN')[0]


def test_signals_reach_python():
  entry, = _texts(_stages()[2], 'ENTRYPOINT')
  assert json.loads(entry) == ['python', '-m', 'resnet.train']


def test_it_is_said_that_nobody_has_built_it():
  text = (_ROOT / 'launch/Dockerfile').read_text()
  assert 'Never built' in text.partition('\n')[0]
