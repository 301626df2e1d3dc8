"""python -m resnet.tools.survey: what a machine would train with, without training.
"""
import json
import pathlib
import platform

import keras
import pytest
import tensorflow as tf

from launch.doctor import reports
from tests import processes, tiny_dataset


def _survey(*argv):
  """What it prints, which the doctor must understand."""
  result = processes.run('resnet.tools.survey', *argv)
  assert result.code == 0, result.err
  line, = result.out.splitlines()
  found = reports.read_survey(line.encode())
  assert found == json.loads(line)
  return found


def test_default_recipe(tmp_path):
  found = _survey(f'--workdir={tmp_path}/run', '--config.seed=7',
                  '--collectives=ring')
  assert found['problems'] == [] and found['devices'] == ['CPU']
  data = found['data']
  assert (data['name'], data['train'], data['eval']) == ('digits', 1437, 360)
  assert found['versions'] == {
      'python': platform.python_version(), 'tensorflow': tf.__version__,
      'keras': keras.__version__}
  assert found['workdir'] == f'{tmp_path}/run'
  assert found['config']['seed'] == '7' and found['global_batch'] == 64
  assert found['config']['optimizer.name'] == "'sgd'"
  assert found['strategy'] == 'mirrored'
  assert found['flags']['collectives'] == 'ring'
  assert not list(tmp_path.iterdir())


def test_several_devices():
  """Nobody is waited for: there is no cluster here."""
  for strategy in ('mirrored', 'multi_worker_mirrored'):
    found = _survey(f'--strategy={strategy}', '--virtual_devices=3')
    assert (found['problems'], found['devices']) == ([], ['CPU'] * 3)
    assert found['strategy'] == strategy


def test_all_that_is_wrong_is_told(tmp_path):
  (tmp_path / 'mine').write_text('')
  found = _survey('--strategy=multi_worker_mirrored', '--devices=CPU:0',
                  '--config=cifar10_resnet20', f'--data_dir={tmp_path}/data',
                  f'--workdir={tmp_path}')
  devices, data, workdir = found['problems']
  assert devices.startswith('--devices=CPU:0 is for one process')
  assert ('`python -m pipelines.prepare --dataset=cifar10 '
          f'--data_dir={tmp_path}/data`') in data
  assert workdir.startswith(f'--workdir={tmp_path} exists and is not the fold')
  assert found['devices'] is found['data'] is None
  assert [path.name for path in tmp_path.iterdir()] == ['mine']


def test_a_run_of_another_configuration(tmp_path):
  (tmp_path / 'config.json').write_text('{"seed": 3}')
  same = _survey(f'--workdir={tmp_path}', '--config.seed=3')
  other = _survey(f'--workdir={tmp_path}', '--config.seed=4')
  differences, = other['problems']
  assert 'config.seed: 3 -> 4' in differences
  assert 'config.seed' not in ''.join(same['problems'])


def test_content_of_data(tmp_path):
  """The digest is of what is read, wherever it lies."""
  folders = [tmp_path / name for name in ('one', 'two')]
  for folder in folders:
    tiny_dataset.prepare_photos(folder)
  flags = ['--config.data.name=photos', '--config.data.image_size=32',
           '--config.augment.crop_padding=0']
  one, two = (_survey(f'--data_dir={folder}', *flags)['data']
              for folder in folders)
  assert one == two and (one['train'], one['eval']) == (24, 11)
  part = _survey(f'--data_dir={folders[0]}', *flags,
                 '--config.data.eval_split=test[1:]')['data']
  assert part['eval'] == 10 and part['digest'] != one['digest']
  shorter = tmp_path / 'three'
  tiny_dataset.prepare_photos(shorter, bad=['1/5.jpg'])
  damaged = _survey(f'--data_dir={shorter}', *flags)['data']
  assert damaged['train'] == 24 and damaged['digest'] != one['digest']


@pytest.mark.parametrize('flag, words', [
    ('--jit=maybe', '--jit=maybe'), ('surplus', "'surplus' is not a flag"),
    ('--config=resnet999', '--config=resnet999 is unknown')])
def test_flags_that_are_wrong(flag, words):
  result = processes.run('resnet.tools.survey', flag)
  assert (result.code, result.out) == (2, '')
  assert result.err.startswith('error: ') and words in result.err


def test_code_is_told_apart(tmp_path, monkeypatch):
  """By the content of each of its files that training runs."""
  from resnet.run import run_folder
  for package in ('configs', 'pipelines', 'resnet'):
    (tmp_path / package).mkdir()
    (tmp_path / package / 'a.py').write_text('x = 1\n')
  monkeypatch.setattr(run_folder, '__file__', f'{tmp_path}/resnet/a.py')
  first = run_folder.code_digest()
  assert run_folder.code_digest() == first
  for package in ('configs', 'pipelines', 'resnet'):
    pathlib.Path(tmp_path, package, 'a.py').write_text('x = 2\n')
    assert run_folder.code_digest() != first
    pathlib.Path(tmp_path, package, 'a.py').write_text('x = 1\n')
