"""The program that prepares a user's own pictures."""
import io
import json
import os
import shlex
import subprocess

from PIL import Image
import pytest
import tensorflow as tf

from pipelines import prepare, tfds_directory
from tests import processes
from tests.tiny_dataset import prepare_photos, write_pictures, write_tilted


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
      '--config.data.name=oxford_pets', '--config.data.train_split=train[:-1]',
      '--config.data.eval_split=train[-1:]', f'--data_dir={tmp_path}/my data']
  assert second.out.startswith('Nothing to do: ')
  assert second.out.endswith(first.out)
  (root / 'a/4.png').write_bytes(b'no picture')
  third = _run(*flags, '--dataset=again')
  assert third.code == 2
  assert '1 of 4 pictures' in third.err.splitlines()[-1]
  fourth = _run(*flags, '--dataset=again', '--skip_bad_images')
  assert fourth.code == 0 and 'again/1.0.0 is prepared' in fourth.out


@pytest.mark.parametrize('splits, evaluated', [
    ({'train': 20, 'validation': 2, 'test': 2}, 'validation'),
    ({'test': 1, 'train': 2}, 'test')])
def test_the_next_command_evaluates_on_what_is_there(splits, evaluated):
  command = shlex.split(prepare.next_command('mine', splits, 'out'))
  assert '--config.data.train_split=train' in command
  assert f'--config.data.eval_split={evaluated}' in command


@pytest.mark.parametrize('count', [2, 4, 9, 10, 11, 37])
def test_both_parts_of_the_next_command_have_pictures(tmp_path, count):
  out = os.fspath(tmp_path / 'out')
  prepare_photos(out, counts=(count - 1, 1))
  found = tfds_directory.builder('photos', out)
  words = shlex.split(prepare.next_command('photos', {'train': count}, out))
  train, evaluation = (
      sum(span.take for span in tfds_directory.spans(
          found, 'photos', word.partition('=')[2]))
      for word in words if '_split=' in word)
  assert train + evaluation == count
  assert evaluation == max(1, round(count / 10 - 0.01))


def test_the_next_command_can_be_pasted_into_a_shell():
  data_dir = """/a 'b' "c" [d] $HOME `e` \\f;g&h|*?!#~<>(é)"""
  command = prepare.next_command('mine', {'train': 20}, data_dir)
  shown = subprocess.run(
      ['bash', '-c', f'printf "%s\\n" {command}'], capture_output=True,
      text=True, check=True)
  *_, train, evaluation, last = shown.stdout.splitlines()
  assert train == '--config.data.train_split=train[:90%]'
  assert evaluation == '--config.data.eval_split=train[90%:]'
  assert last == f'--data_dir={data_dir}'


@pytest.mark.slow
def test_the_next_command_trains_on_four_pictures(tmp_path):
  root = write_pictures(tmp_path / 'my [4] pictures', 'a/0.webp', 'a/1.jpg',
                        "dog's/2.png", "dog's/3.bmp")
  prepared = _run(f'--image_folder={root}', f'--data_dir={tmp_path}/my [data]*')
  assert prepared.code == 0, prepared.err
  _, _, program, *flags = shlex.split(prepared.out.splitlines()[-1])
  result = processes.run(
      program, *flags, f'--workdir={tmp_path}/run', '--config.model.width=4',
      '--config.model.depth=18', '--config.model.version=v1',
      '--config.data.image_size=32')
  assert result.code == 0, result.err
  *_, evaluation = [json.loads(line) for line in (
      tmp_path / 'run/metrics.jsonl').read_text().splitlines()]
  assert (evaluation['split'], evaluation['examples']) == ('eval', 1)


def test_a_folder_of_everything(tmp_path):
  """Links in circles, a pipe, tilted pictures and a picture that is none."""
  root = write_tilted(tmp_path / 'Every thing')
  (root / 'a/self').symlink_to('.')
  (root / 'b/up').symlink_to('..')
  os.mkfifo(root / 'a/pipe.jpg')
  (root / 'b/gone.jpg').symlink_to('/nowhere.jpg')
  flags = f'--image_folder={root}', f'--data_dir={tmp_path}/out'
  first = _run(*flags)
  assert first.code == 2 and first.err.splitlines()[-1] == (
      f'error: 1 of 6 pictures in {root} cannot be used (b/gone.jpg: No such '
      'file or directory): repair or delete them, or give --skip_bad_images to '
      'leave them out.')
  second = _run(*flags, '--skip_bad_images')
  assert second.code == 0, second.err
  for words in ('ignoring pipes, sockets and devices (a/pipe.jpg)',
                'ignoring links to a folder above them (a/self, b/up)',
                'some pictures are left out: 1 of 6 pictures'):
    assert f'warning: {words}' in second.err
  turned, sentence, _ = second.out.splitlines()
  assert turned.startswith('Turned 3 of 6 pictures upright')
  assert '(examples: train 5)' in sentence
  kept = _run(*flags, '--skip_bad_images', '--keep_orientation')
  assert kept.code == 2 and 'in the same way: delete it' in kept.err
  assert _run(*flags, '--skip_bad_images', '--keep_orientation',
              '--dataset=kept').out.startswith('Left 3 of 6 pictures as')


@pytest.mark.slow
def test_large_pictures_are_reduced_once(tmp_path):
  root = tmp_path / 'Photos'
  sizes = {'a/wide.jpg': (100, 40), 'a/small.jpg': (64, 64),
           'b/tall.png': (30, 128)}
  for file, (width, height) in sizes.items():
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (width, height), (200, 100, 50)).save(root / file)
  flags = (f'--image_folder={root}', f'--data_dir={tmp_path}/out',
           '--max_side=64')
  first, again = _run(*flags), _run(*flags)
  assert (first.code, again.code) == (0, 0), first.err + again.err
  assert first.out.splitlines()[0] == (
      'Reduced 2 of 3 pictures (longer side at most 64 pixels, as JPEGs of '
      'quality 90); the others are stored as they are.')
  assert again.out.startswith('Nothing to do')
  for other in (flags[:2], (*flags, '--jpeg_quality=80'),
                (*flags[:2], '--max_side=65')):
    assert 'in the same way: delete it' in _run(*other).err
  info = tfds_directory.builder('photos', f'{tmp_path}/out').info
  assert info.description.endswith(
      'longer side at most 64 pixels, as JPEGs of quality 90')
  stored = {}
  for file in (tmp_path / 'out/photos/1.0.0').glob('*tfrecord*'):
    for record in tf.data.TFRecordDataset(os.fspath(file)).as_numpy_iterator():
      feature = tf.train.Example.FromString(record).features.feature
      stored[feature['file_name'].bytes_list.value[0].decode()] = (
          feature['image'].bytes_list.value[0])
  # 40 * 64 / 100 is 25.6; 30 * 64 / 128 is 15.
  assert {file: Image.open(io.BytesIO(content)).size
          for file, content in stored.items()} == {
              'a/wide.jpg': (64, 26), 'a/small.jpg': (64, 64),
              'b/tall.png': (15, 64)}
  assert stored['a/small.jpg'] == (root / 'a/small.jpg').read_bytes()


@pytest.mark.parametrize('flags, words', [
    (['--dataset=huggingface:mnist'], 'is not the name of a TFDS data set'),
    (['--dataset=mnist', '--keep_orientation'], 'add --image_folder'),
    (['--dataset=mnist', '--data_dir=gs://a/b'], 'is not a folder on this'),
    (['--image_folder=s3://a/b'], 'is not a folder on this machine'),
    (['--image_folder={in}/none'], 'in/none does not exist: give'),
    (['--image_folder={in}/a/1.png'], 'a/1.png is a file: give'),
    (['--image_folder='], '--image_folder= is empty'),
    (['--image_folder={in}', '--dataset=mnist'], 'name of a public data set'),
    (['--image_folder={in}', '--data_dir=/proc/none'],
     '--data_dir=/proc/none cannot be written'),
    (['--image_folder={in}', '--data_dir={in}/a/1.png'],
     'a/1.png cannot be written (File exists)'),
    (['--dataset=mnist', '--skip_bad_images'], 'add --image_folder'),
    (['--dataset=mnist', '--max_side=64'], 'add --image_folder'),
    (['--image_folder={in}', '--jpeg_quality=80'], 'add --max_side'),
])
def test_what_the_program_refuses(tmp_path, flags, words):
  root = write_pictures(tmp_path / 'in', 'a/1.png', 'b/2.png')
  result = _run(*(flag.replace('{in}', os.fspath(root)) for flag in flags))
  assert result.code == 2 and 'Traceback' not in result.err
  line = result.err.splitlines()[-1]
  assert line.startswith('error: ') and line.endswith('.') and words in line
