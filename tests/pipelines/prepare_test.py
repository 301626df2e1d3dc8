"""The program that prepares a user's own pictures."""
import io
import json
import os
import shlex

from PIL import Image
import pytest
import tensorflow as tf

from pipelines import next_command, tfds_directory
from tests import processes, synthetic_photographs
from tests.tiny_dataset import write_pictures, write_tilted


def _run(*flags):
  return processes.run('pipelines.prepare', *flags)


def test_pictures_are_prepared_once_and_the_next_command_is_shown(tmp_path):
  root = write_pictures(
      tmp_path / 'OxfordPets', 'a/1.png', 'b/2.png', 'b/3.png')
  flags = f'--image_folder={root}', f'--data_dir={tmp_path}/my data'
  first, second = _run(*flags), _run(*flags)
  assert (first.code, second.code) == (0, 0), first.err + second.err
  assert '%|' not in first.err and '\r' not in first.err  # A progress bar.
  sentence, command, _, other = first.out.splitlines()
  assert sentence == (f'oxford_pets/1.0.0 is prepared in {tmp_path}/my data/'
                      'oxford_pets/1.0.0 (examples: train 3). To train on it, '
                      'run')
  prepared = next_command.Prepared(
      'oxford_pets', f'{tmp_path}/my data', {'train': 3}, [5, 5, 5])
  assert command == f'  {next_command.from_scratch(prepared)}'
  assert other == f'  {next_command.fine_tuning(prepared)}'
  assert second.out.startswith('Nothing to do: ')
  assert second.out.endswith(first.out)
  (root / 'a/4.png').write_bytes(b'no picture')
  third = _run(*flags, '--dataset=again')
  assert third.code == 2
  assert '1 of 4 pictures' in third.err.splitlines()[-1]
  fourth = _run(*flags, '--dataset=again', '--skip_bad_images')
  assert fourth.code == 0 and 'again/1.0.0 is prepared' in fourth.out


def _run_printed(out, folder, *more):
  """Runs the first command that prepare printed, with more flags."""
  command = next(line for line in out.splitlines()
                 if '--config=pictures_resnet18' in line)
  _, _, program, *flags = shlex.split(command)
  workdir = next(flag for flag in flags if flag.startswith('--workdir='))
  flags.remove(workdir)  # It is relative.
  run = folder / workdir.partition('=')[2]
  result = processes.run(program, *flags, f'--workdir={run}', *more)
  assert result.code == 0, result.err
  rows = [json.loads(line)
          for line in (run / 'metrics.jsonl').read_text().splitlines()]
  return [row for row in rows if row['split'] == 'eval'], result


@pytest.mark.slow
def test_the_next_command_trains_on_four_pictures(tmp_path):
  root = write_pictures(tmp_path / 'my [4] pictures', 'a/0.webp', 'a/1.jpg',
                        "dog's/2.png", "dog's/3.bmp")
  prepared = _run(f'--image_folder={root}', f'--data_dir={tmp_path}/my [data]*')
  assert prepared.code == 0, prepared.err
  (*_, last), result = _run_printed(
      prepared.out, tmp_path, '--config.model.width=4', '--eval_every_epochs=0')
  assert last['examples'] == 1
  assert 'warning: the run has' not in result.err


@pytest.mark.slow
def test_the_next_command_learns_300_pictures(tmp_path):
  root = synthetic_photographs.write(tmp_path / 'Patterns', 300)
  prepared = _run(f'--image_folder={root}', f'--data_dir={tmp_path}/data')
  assert prepared.code == 0, prepared.err
  (*_, last), result = _run_printed(prepared.out, tmp_path)
  assert last['examples'] == 60 and last['accuracy'] >= 0.95
  assert 'warning' not in result.err


def test_pictures_are_divided(tmp_path):
  root = write_pictures(tmp_path / 'Pets', *(
      f'{name}/{number}.png' for name in 'ab' for number in range(10)))
  flags = f'--image_folder={root}', f'--data_dir={tmp_path}/out'
  first = _run(*flags, '--split=80,10,10')
  assert first.code == 0, first.err
  assert '(examples: test 2, train 16, validation 2)' in first.out
  assert '--config.data.eval_split=validation' in first.out
  assert '--config.data.train_split=train ' in first.out
  assert _run(*flags, '--split=80,10,10', '--split_seed=0').out.startswith(
      'Nothing to do')
  for other in ((), ('--split=90,10',), ('--split=80,10,10', '--split_seed=1')):
    again = _run(*flags, *other)
    assert again.code == 2 and 'in the same way: delete it' in again.err
  info = tfds_directory.builder('pets', f'{tmp_path}/out').info
  assert 'split 80,10,10 of each class by seed 0' in info.description


def test_labels_come_from_a_table(tmp_path):
  root = write_pictures(tmp_path / 'Pets', *(
      f'{number}.png' for number in range(7)))
  table = tmp_path / 'labels.csv'
  table.write_text('file;label\n' + ''.join(
      f'{number}.png;{"cat dog".split()[number % 2]}\n'
      for number in range(6)))
  flags = (f'--image_folder={root}', f'--labels={table}',
           f'--data_dir={tmp_path}/out')
  first = _run(*flags, '--split=50,50')
  assert first.code == 0, first.err
  assert '(examples: train 4, validation 2)' in first.out
  assert 'ignoring 1 pictures that --labels does not list (6.png)' in first.err
  assert tfds_directory.builder(
      'pets', f'{tmp_path}/out').info.features['label'].names == ['cat', 'dog']
  assert _run(*flags, '--split=50,50').out.startswith('Nothing to do')
  table.write_text(table.read_text().replace('5.png;dog', '5.png;cat'))
  again = _run(*flags, '--split=50,50')
  assert again.code == 2 and 'in the same way: delete it' in again.err
  # In a table with splits, they are not divided again.
  table.write_text('file,label,split\n0.png,a,train\n1.png,b,train\n'
                   '2.png,b,test\n')
  assert _run(*flags, '--dataset=other', '--split=50,50').err.splitlines()[
      -1] == ('error: --split=50,50 does not apply to pictures that have the '
              'splits train, test already: leave it out.')


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
  turned, sentence, *_ = second.out.splitlines()
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
    (['--dataset=mnist', '--labels=x'], '--labels only applies to your own'),
    (['--dataset=mnist', '--split=90,10'], 'add --image_folder'),
    (['--dataset=mnist', '--split_seed=0'], 'add --image_folder'),
    (['--image_folder={in}', '--split_seed=0'], 'only applies to --split: add'),
    (['--image_folder={in}', '--split=80,10'], '--split=80,10 adds up to 90'),
    (['--image_folder={in}', '--split='], '--split= is not a list'),
    (['--image_folder={in}', '--split=90,10'], 'at least 2 pictures of each'),
    (['--image_folder={in}', '--labels={in}/none'],
     'in/none cannot be read (No such file'),
    (['--image_folder={in}', '--labels=gs://x'], 'is not a folder on this'),
    (['--image_folder={in}', '--labels={in}/a/1.png'], '1.png is not UTF-8'),
])
def test_what_the_program_refuses(tmp_path, flags, words):
  root = write_pictures(tmp_path / 'in', 'a/1.png', 'b/2.png')
  result = _run(*(flag.replace('{in}', os.fspath(root)) for flag in flags))
  assert result.code == 2 and 'Traceback' not in result.err
  line = result.err.splitlines()[-1]
  assert line.startswith('error: ') and line.endswith('.') and words in line
