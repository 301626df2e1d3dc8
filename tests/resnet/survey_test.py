"""What a machine would train with, as `python -m resnet.tools.survey` finds it.
"""
import json
import platform

import keras
import pytest
import tensorflow as tf

from launch.doctor import reports
from resnet.run import software
from tests import processes, tiny_dataset


def _survey(*argv):
  """Returns what it prints, which the doctor must understand."""
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
  """No other worker is waited for: there is no cluster here."""
  for strategy in ('mirrored', 'multi_worker_mirrored'):
    found = _survey(f'--strategy={strategy}', '--virtual_devices=3')
    assert (found['problems'], found['devices']) == ([], ['CPU'] * 3)
    assert found['strategy'] == strategy


def test_all_problems_are_reported(tmp_path):
  (tmp_path / 'mine').write_text('')
  found = _survey('--strategy=multi_worker_mirrored', '--devices=CPU:0',
                  '--config=cifar10_resnet20', f'--data_dir={tmp_path}/data',
                  f'--workdir={tmp_path}')
  devices, data, workdir = found['problems']
  assert devices.startswith('--devices=CPU:0 is for one process')
  assert ('`python -m pipelines.prepare --dataset=cifar10 '
          f'--data_dir={tmp_path}/data`') in data
  assert workdir.startswith(f'--workdir={tmp_path} exists and is not a run fo')
  assert found['devices'] is found['data'] is None
  assert [path.name for path in tmp_path.iterdir()] == ['mine']


def test_a_folder_of_a_run_with_another_config(tmp_path):
  (tmp_path / 'config.json').write_text('{"seed": 3}')
  same = _survey(f'--workdir={tmp_path}', '--config.seed=3')
  other = _survey(f'--workdir={tmp_path}', '--config.seed=4')
  differences, = other['problems']
  assert 'config.seed: 3 -> 4' in differences
  assert 'config.seed' not in ''.join(same['problems'])


def test_the_digest_of_data_is_that_of_its_content(tmp_path):
  """And of nothing else: not of the folder it is in."""
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


_CODE = ('configs/a.py', 'configs/process/a.py', 'launch/cluster/a.py',
         'pipelines/a.py', 'resnet/a.py', 'resnet/run/a.py',
         'resnet/tools/deep/a.py')
_OTHER_CODE = ('launch/a.py', 'launch/slurm/a.py', 'resnet/a.txt', 'tests/a.py')


def test_the_digest_of_code_is_that_of_all_files_that_training_runs(
    tmp_path, monkeypatch):
  """Recursively, with what the trainer imports of launch, and nothing else."""
  for name in _CODE + _OTHER_CODE:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text('x = 1\n')
  monkeypatch.setattr(
      software, '__file__', f'{tmp_path}/resnet/run/software.py')
  first = software.code_digest()
  digests = {first}
  for name in _CODE:
    (tmp_path / name).write_text('x = 2\n')
    digests.add(software.code_digest())
    (tmp_path / name).rename(tmp_path / f'{name}.txt')
    digests.add(software.code_digest())
    (tmp_path / f'{name}.txt').rename(tmp_path / name)
    (tmp_path / name).write_text('x = 1\n')
  assert len(digests) == 1 + 2 * len(_CODE)
  for name in _OTHER_CODE:
    (tmp_path / name).write_text('x = 2\n')
  assert software.code_digest() == first
