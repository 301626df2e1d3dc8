"""The input benchmark's tables, from one short round of each kind."""
import os
import re
import subprocess
import sys

import pytest

from configs.process import python_module
from tests import processes, tiny_dataset

_STAGES = ['read', 'decode', 'crop and resize', 'batch', 'augmentation',
           'free decoding', 'sequential', 'ceiling']
_ONE_ROUND = ('--rounds=1', '--images=100')
_PHOTOS = ('--config=imagenet_resnet50', '--config.data.name=photos',
           '--config.data.image_size=32', '--config.global_batch=8')


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  """Holds photos (24 pictures of many sizes) and tiny_pictures (37 of one)."""
  path = tmp_path_factory.mktemp('tfds')
  tiny_dataset.prepare_photos(path)
  tiny_dataset.prepare(path)
  return path


def _lines(*flags):
  """The lines that the command prints."""
  result = processes.run('pipelines.benchmark', *flags)
  assert (result.code, result.err) == (0, '')
  return result.out.splitlines()


def _only_value(text):
  """The x of 'x [x, x]': median, least and most of one round are equal."""
  median, least, most = re.fullmatch(
      r' *([\d.]+) \[([\d.]+), ([\d.]+)\] *', text).groups()
  assert median == least == most and float(median) > 0
  return median


def _assert_ratio(ratio, numerator, denominator):
  """That numbers as they are printed are a ratio and its two parts."""
  def ends(printed):
    half = 0.5 * 10**-len(printed.partition('.')[2])
    return float(printed) - half, float(printed) + half
  (least, most), (low, high) = ends(numerator), ends(denominator)
  smallest, largest = ends(ratio)
  assert least / high <= largest and smallest <= most / low


def _assert_starts(line):
  near, far, ratio = re.fullmatch(
      r'first batch of a stream: ([\d.]+) ms from step 10, ([\d.]+) ms from '
      r'step 10,000,000 \(ratio ([\d.]+); medians of 4 starts\)', line
  ).groups()
  assert 0 < float(near) < 1e5 and 0 < float(far) < 1e5
  _assert_ratio(ratio, far, near)


@pytest.mark.slow
@pytest.mark.parametrize('name, flags, described', [
    ('digits', [], 'digits, 1437 images in memory, batches of 64 x (8, 8, 1), '
     'crop padding 1, flip False; '),
    ('tiny_pictures', ['--config.data.name=tiny_pictures',
                       '--config.global_batch=8', '--config.augment.flip'],
     'tiny_pictures, 37 images in memory, batches of 8 x (8, 8, 3), crop '
     'padding 1, flip True; ')])
def test_images_in_memory_beside_the_textbook(data_dir, name, flags, described):
  title, training, textbook, ratio, starts = _lines(
      *_ONE_ROUND, f'--data_dir={data_dir}', *flags)
  assert title == (described + 'images per CPU-second (all threads), median of '
                   '1 rounds [min, max]:')
  speeds = []
  for row, label in ((training, '  training '), (textbook, '  textbook ')):
    assert row.startswith(label)
    speeds.append(_only_value(row.removeprefix(label)))
  assert re.fullmatch(r'  ratio +\d+\.\d', ratio)
  _assert_ratio(ratio.split()[1], *speeds)
  _assert_starts(starts)


@pytest.mark.slow
def test_synthetic_images_have_no_textbook():
  title, training, starts = _lines(
      *_ONE_ROUND, '--config.data.name=synthetic', '--config.synthetic.size=8')
  assert title.startswith(
      'synthetic, 1000 images made when they are read, batches of 64 x (8, 8, '
      '3), crop padding 1, flip False; images per CPU-second')
  assert training.startswith('  training ')
  _only_value(training.removeprefix('  training '))
  _assert_starts(starts)


@pytest.mark.slow
def test_stages_of_pictures_on_disk(data_dir):
  title, head, *rows, starts = _lines(
      *_ONE_ROUND, f'--data_dir={data_dir}', *_PHOTOS,
      '--images_per_second=500')
  assert re.fullmatch(
      r'photos, 24 pictures on disk, batches of 8 x \(32, 32, 3\); [1-9]\d* '
      r'cores; median of 1 rounds \[min, max\]; up to augmentation, each stage '
      r'includes those above it:', title)
  columns = head.index('images per CPU-second'), head.index('images per second')
  assert [row[:columns[0]].strip() for row in rows[:8]] == _STAGES
  per_cpu_sec = {row[:columns[0]].strip(): _only_value(row[slice(*columns)])
                 for row in rows[:8]}
  for row in rows[:8]:
    _only_value(row[columns[1]:])
  for row, other in zip(rows[8:], ('sequential', 'ceiling')):
    label = f'  ratio of each round, batch / {other}, per CPU-second '
    assert row.startswith(label)
    _assert_ratio(_only_value(row.removeprefix(label)), per_cpu_sec['batch'],
                  per_cpu_sec[other])
  cores = re.fullmatch(r'  500 images per second need ([\d.]+) cores like '
                       'these to read, decode and crop', rows[10])[1]
  _assert_ratio(cores, '500.000', per_cpu_sec['batch'])
  assert len(rows) == 11
  _assert_starts(starts)


def test_memory_of_repeated_pictures(data_dir):
  line, = _lines(f'--data_dir={data_dir}', *_PHOTOS, '--repeat_data=5')
  first, last, change = re.fullmatch(
      r'memory during one epoch over photos repeated 5 times, 120 pictures: '
      r'(\d+) MiB after the first repetition, (\d+) MiB at the end '
      r'\(([+-][\d.]+)%\)', line).groups()
  assert int(first) > 50  # TensorFlow alone takes more.
  _assert_ratio(f'{1 + float(change) / 100:.3f}', last, first)


def test_a_wrong_flag_is_refused_before_tensorflow_is_imported():
  command = python_module.command(
      'pipelines.benchmark', (sys.executable, '-X', 'importtime'))
  result = subprocess.run(
      [*command, '--rounds=0'], env=python_module.environment(os.environ),
      capture_output=True, text=True, check=False)
  *imports, error = result.stderr.splitlines()
  assert (result.returncode, result.stdout) == (2, '')
  assert '--rounds=0 is not allowed: give an integer from 1 to' in error
  assert any('| absl.flags' in line for line in imports)
  assert not any('tensorflow' in line for line in imports
                 if 'tensorflow_process' not in line)
