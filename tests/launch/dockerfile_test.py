"""launch/Dockerfile as text, because it is written where there is no Docker."""
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
  """Returns [(instruction, its text)] of what precedes the stages and of each.
  """
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


def test_all_stages_have_the_same_base_without_a_default():
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


def _copy_the_context(folder):
  """Copies into a folder what the Dockerfile copies before it installs."""
  for text in _texts(_stages()[1], 'COPY'):
    *sources, target = text.split()
    (folder / target).mkdir(exist_ok=True)
    for source in sources:
      if (_ROOT / source).is_dir():
        shutil.copytree(
            _ROOT / source, folder / target, dirs_exist_ok=True,
            ignore=shutil.ignore_patterns('__pycache__'))
      else:
        shutil.copy(_ROOT / source, folder / target)


@pytest.fixture(name='wheel', scope='module')
def _wheel(tmp_path_factory):
  """The names of the files in the wheel that the image installs."""
  folder = tmp_path_factory.mktemp('context')
  _copy_the_context(folder)
  subprocess.run(
      [sys.executable, '-m', 'pip', 'wheel', '--no-deps',
       '--no-build-isolation', '--wheel-dir', folder, folder],
      check=True, capture_output=True)
  path, = folder.glob('*.whl')
  with zipfile.ZipFile(path) as archive:
    return set(archive.namelist())


_PACKAGES = ('configs', 'launch', 'pipelines', 'resnet')


def test_the_wheel_holds_all_modules_and_no_others(wheel):
  modules = {path.relative_to(_ROOT).as_posix() for package in _PACKAGES
             for path in (_ROOT / package).rglob('*.py')}
  assert {'resnet/train.py', 'resnet/models/resnet.py',
          'configs/process/errors.py', 'configs/cifar10_resnet20.py',
          'launch/local/watcher.py', 'launch/slurm/__main__.py'} < modules
  assert {name for name in wheel if name.endswith('.py')} == modules


def test_the_wheel_holds_all_launchers(wheel):
  assert {name for name in wheel if name.endswith('/__main__.py')} == {
      f'launch/{name}/__main__.py'
      for name in ('doctor', 'kubernetes', 'local', 'slurm', 'sweep')}


def test_the_wheel_holds_all_files_that_its_commands_and_users_need(wheel):
  others = {
      'launch/Dockerfile', 'launch/slurm/job.sh',
      'pipelines/digits.npz',  # The data set that comes with the project.
      'pipelines/digits.LICENSE',
      *(f'launch/examples/{path.name}'
        for path in (_ROOT / 'launch/examples').iterdir())}
  assert 'launch/examples/kubernetes_job.yaml' in others
  assert {name for name in wheel if not name.endswith('.py')
          and '.dist-info/' not in name} == others


def test_every_installed_command_is_in_the_wheel(wheel):
  metadata = configparser.ConfigParser()
  metadata.read(_ROOT / 'setup.cfg')
  commands = metadata['options.entry_points']['console_scripts'].split('\n')
  targets = [command.partition(' = ')[2] for command in commands if command]
  assert 'resnet.train:run' in targets
  for target in targets:
    module, _, function = target.partition(':')
    path = f'{module.replace(".", "/")}.py'
    assert path in wheel and f'\ndef {function}(' in (_ROOT / path).read_text()


def test_sources_and_pip_stay_behind():
  _, build, final = _stages()
  assert 'pip uninstall --yes pip' in _texts(build, 'RUN')[1]
  assert _texts(final, 'COPY') == ['--from=build /opt/resnet /opt/resnet']
  assert not re.search('pip|apt', ''.join(_texts(final, 'RUN')))


def test_the_user_is_not_root():
  final = _stages()[2]
  assert _texts(final, 'USER') == ['1000:1000']
  names = [name for name, _ in final]
  assert names.index('USER') > max(
      index for index, name in enumerate(names) if name == 'RUN')
  assert 'chown 1000:1000 "${HOME}"' in _texts(final, 'RUN')[0]


def test_signals_reach_python():
  entry, = _texts(_stages()[2], 'ENTRYPOINT')
  assert json.loads(entry) == ['python', '-P', '-m', 'resnet.train']


def test_it_says_that_it_has_never_been_built():
  text = (_ROOT / 'launch/Dockerfile').read_text()
  assert 'never been built' in text.partition('\n')[0]
