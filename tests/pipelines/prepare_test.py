"""The program that prepares a user's own pictures."""
import os
import shlex

import pytest

from pipelines import prepare
from tests import processes
from tests.tiny_dataset import write_pictures


def _run(*flags):
  return processes.run('pipelines.prepare', *flags)


def test_pictures_are_prepared_once_and_the_next_command_is_shown(tmp_path):
  root = write_pictures(
      tmp_path / 'OxfordPets', 'a/1.png', 'b/2.png', 'b/3.png')
  flags = f'--image_folder={root}', f'--data_dir={tmp_path}/my data'
  first, second = _run(*flags), _run(*flags)
  assert (first.code, second.code) == (0, 0), first.err + second.err
  sentence, command = first.out.splitlines()
  assert sentence == (f'oxford_pets/1.0.0 is prepared in {tmp_path}/my data/'
                      'oxford_pets/1.0.0 (examples: train 3). To train on it, '
                      'run')
  assert shlex.split(command) == [
      'python', '-m', 'resnet.train', '--config=imagenet_resnet50',
      '--config.data.name=oxford_pets', '--config.data.train_split=train[:90%]',
      '--config.data.eval_split=train[90%:]', f'--data_dir={tmp_path}/my data']
  assert second.out.startswith('Nothing to do: ')
  assert second.out.endswith(first.out)
  (root / 'a/4.png').write_bytes(b'no picture')
  third = _run(*flags, '--dataset=again')
  assert third.code == 2
  assert '1 of 4 pictures' in third.err.splitlines()[-1]
  fourth = _run(*flags, '--dataset=again', '--skip_bad_images')
  assert fourth.code == 0 and 'again/1.0.0 is prepared' in fourth.out


@pytest.mark.parametrize('splits, evaluated', [
    (['train', 'validation', 'test'], 'validation'),
    (['test', 'train'], 'test')])
def test_the_next_command_evaluates_on_what_is_there(splits, evaluated):
  command = shlex.split(prepare.next_command('mine', splits, 'out'))
  assert '--config.data.train_split=train' in command
  assert f'--config.data.eval_split={evaluated}' in command


@pytest.mark.parametrize('flags, words', [
    (['--image_folder={in}/none'], 'in/none does not exist: give'),
    (['--image_folder={in}/a/1.png'], 'a/1.png is a file: give'),
    (['--image_folder='], '--image_folder= does not exist'),
    (['--image_folder={in}', '--dataset=mnist'], 'name of a public data set'),
    (['--image_folder={in}', '--data_dir=/proc/none'],
     '--data_dir=/proc/none cannot be written'),
    (['--image_folder={in}', '--data_dir={in}/a/1.png'],
     'a/1.png cannot be written (File exists)'),
    (['--dataset=mnist', '--skip_bad_images'], 'add --image_folder'),
])
def test_what_the_program_refuses(tmp_path, flags, words):
  root = write_pictures(tmp_path / 'in', 'a/1.png', 'b/2.png')
  result = _run(*(flag.replace('{in}', os.fspath(root)) for flag in flags))
  assert result.code == 2 and 'Traceback' not in result.err
  line = result.err.splitlines()[-1]
  assert line.startswith('error: ') and line.endswith('.') and words in line
