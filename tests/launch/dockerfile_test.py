"""launch/Dockerfile as text, since there is no Docker to build it with."""
import configparser
import json
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

_ROOT = pathlib.Path(__file__).parents[2]


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


def test_what_is_copied_is_enough_to_install(tmp_path):
  for text in _texts(_stages()[1], 'COPY'):
    *sources, target = text.split()
    (tmp_path / target).mkdir(exist_ok=True)
    for source in sources:
      if (_ROOT / source).is_dir():
        shutil.copytree(_ROOT / source, tmp_path / target, dirs_exist_ok=True)
      else:
        shutil.copy(_ROOT / source, tmp_path / target)
  subprocess.run(
      [sys.executable, '-m', 'pip', 'wheel', '--no-deps',
       '--no-build-isolation', '--wheel-dir', tmp_path, tmp_path],
      check=True, capture_output=True)
  wheel, = tmp_path.glob('*.whl')
  metadata = configparser.ConfigParser()
  metadata.read(_ROOT / 'setup.cfg')
  expected = {f'{package}/{path.name}'
              for package in metadata['options']['packages'].split()
              for path in (_ROOT / package).glob('*.py')}
  assert {'resnet/train.py', 'pipelines/sources.py'} < expected
  expected.add('pipelines/digits.npz')  # What is trained without any data.
  assert expected < set(zipfile.ZipFile(wheel).namelist())


def test_sources_and_pip_stay_behind():
  _, build, final = _stages()
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
