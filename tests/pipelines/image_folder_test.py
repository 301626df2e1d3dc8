"""A folder of pictures becomes a data set, or an error says why not."""
import errno
import io
import itertools
import multiprocessing
import os
import pathlib
import resource
import signal
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from configs.process.errors import TryAgain, UserError
from pipelines import image_folder, image_tree, picture_file, tfds_directory
from tests.tiny_dataset import encoded, pixels, write_pictures, write_tilted

_FORKS = multiprocessing.get_context('forkserver')


def _prepare(root, data_dir, name='mine', skip_bad_images=False,
             keep_orientation=False):
  return image_folder.prepare(
      image_tree.scan(root), name, data_dir, skip_bad_images=skip_bad_images,
      keep_orientation=keep_orientation)


def _examples(builder, split):
  """Returns {file_name: (bytes, label)} as TFDS reads them."""
  dataset = builder.as_dataset(
      split=split, decoders={'image': tfds.decode.SkipDecoding()})
  return {example['file_name'].decode(): (example['image'], example['label'])
          for example in dataset.as_numpy_iterator()}


def test_class_folders_become_one_split(tmp_path, capsys):
  root = write_pictures(
      tmp_path / 'in', 'dog/1.png', 'cat/x/y/2.JPG', 'cat/3.jpeg', 'cat/.4.png',
      '.git/5.png', 'dog/.cache/6.png', 'Ape/7.png')
  builder = _prepare(root, tmp_path / 'out')
  assert capsys.readouterr().err.count('warning') == 0
  assert builder.info.full_name == 'mine/1.0.0'
  assert builder.info.features['label'].names == ['Ape', 'cat', 'dog']
  assert _examples(builder, 'train') == {
      name: ((root / name).read_bytes(), label) for name, label in [
          ('Ape/7.png', 0), ('cat/3.jpeg', 1), ('cat/x/y/2.JPG', 1),
          ('dog/1.png', 2)]}
  assert {p.name for p in (tmp_path / 'out').iterdir()} == {'mine'}


@pytest.mark.parametrize('validation', ['val', 'valid', 'Validation'])
def test_split_folders_become_splits(tmp_path, validation):
  root = write_pictures(
      tmp_path / 'in', 'test/b/1.png', 'train/b/2.png',
      f'{validation}/b/3.png', 'train/a/4.png', 'train/b/5.png')
  builder = _prepare(root, tmp_path / 'out')
  assert builder.info.features['label'].names == ['a', 'b']
  assert {split: {name: label for name, (_, label) in _examples(
      builder, split).items()} for split in builder.info.splits} == {
          'train': {'train/a/4.png': 0, 'train/b/2.png': 1, 'train/b/5.png': 1},
          'validation': {f'{validation}/b/3.png': 1},
          'test': {'test/b/1.png': 1}}


def _kinds():
  """Returns {file name: (bytes, uint8 [h, w, 3], largest difference)}."""
  rgb = Image.fromarray(pixels(1))
  gray = rgb.convert('L')
  deep = pixels(2, (6, 5), np.uint16)
  palette = rgb.quantize(7)
  later = rgb.transpose(Image.Transpose.FLIP_LEFT_RIGHT).quantize(7)
  cases = {
      # Pillow and TensorFlow round the conversion of colors differently.
      'cmyk.jpg': (encoded(rgb.convert('CMYK'), 'JPEG'), None, 3),
      'gray.jpg': (encoded(gray, 'JPEG'), None, 1),
      'deep.png': (encoded(Image.fromarray(deep), 'PNG'),
                   (deep >> 8)[..., None].repeat(3, 2), 0),
      'palette.png': (encoded(palette, 'PNG', transparency=3), None, 0),
      'alpha.png': (encoded(rgb.convert('RGBA'), 'PNG'), None, 0),
      'bits.png': (encoded(gray.convert('1'), 'PNG'), None, 0),
      'film.gif': (encoded(palette, 'GIF', save_all=True,
                            append_images=[later]), None, 0),
      'still.webp': (encoded(rgb, 'WEBP'), None, 0),
      'color.bmp': (encoded(rgb, 'BMP'), None, 0),
      'gray.bmp': (encoded(gray, 'BMP'), None, 0)}
  return {name: (content, np.asarray(Image.open(io.BytesIO(content)).convert(
      'RGB')) if expected is None else expected, difference)
          for name, (content, expected, difference) in cases.items()}


def test_every_kind_of_picture_is_stored_as_it_is(tmp_path):
  kinds = _kinds()
  root = write_pictures(tmp_path / 'in', 'b/1.png', 'a/0.png')
  for name, (content, _, _) in kinds.items():
    (root / 'a' / name).write_bytes(content)
  examples = _examples(_prepare(root, tmp_path / 'out'), 'train')
  assert len(examples) == 2 + len(kinds)
  for name, (content, expected, difference) in kinds.items():
    stored, label = examples[f'a/{name}']
    assert (stored, label) == (content, 0)
    decoded = tf.io.decode_image(
        stored, channels=3, expand_animations=False).numpy()
    np.testing.assert_allclose(
        decoded.astype(int), expected, rtol=0, atol=difference, err_msg=name)


def _compressed_bmp():
  """Makes a valid file of run lengths, which TensorFlow takes for grays."""
  raw = bytearray(encoded(Image.new('L', (4, 400), 9), 'BMP'))
  raw[30] = 1  # BI_RLE8
  return bytes(raw)


def _bad(root):
  """Writes three good pictures and five that are not decoded correctly."""
  write_pictures(root, 'train/a/1.png', 'train/b/2.png', 'val/a/3.png')
  jpeg = encoded(Image.fromarray(pixels(3, (60, 60, 3))), 'JPEG')
  (root / 'train/a/cut.jpg').write_bytes(jpeg[:len(jpeg) // 2])
  (root / 'train/a/gone.jpg').symlink_to(root / 'nowhere')
  (root / 'train/b/void.gif').write_bytes(b'')
  # TensorFlow would take indices into the palette for grays.
  Image.fromarray(pixels(1)).quantize(7).save(root / 'val/a/palette.bmp')
  (root / 'val/a/runs.bmp').write_bytes(_compressed_bmp())
  return root


def test_bad_pictures_are_all_found_and_nothing_is_left(tmp_path):
  root = _bad(tmp_path / 'in')
  with pytest.raises(UserError) as raised:
    _prepare(root, tmp_path / 'out')
  assert str(raised.value) == (
      f'5 of 8 pictures in {root} cannot be used (train/a/cut.jpg: '
      'jpeg::Uncompress failed. Invalid JPEG data or crop window; '
      'train/a/gone.jpg: No such file or directory; train/b/void.gif: empty '
      'file; val/a/palette.bmp: BMP with a palette or compression: save it as '
      'PNG; val/a/runs.bmp: BMP with a palette or compression: save it as '
      'PNG): repair or delete them, or give --skip_bad_images to leave them '
      'out.')
  assert not list((tmp_path / 'out').iterdir())


def test_bad_pictures_are_left_out_if_asked(tmp_path, capsys):
  root = _bad(tmp_path / 'in')
  (root / 'val/a/x.png').write_bytes(b'no picture')
  builder = _prepare(root, tmp_path / 'out', skip_bad_images=True)
  assert _examples(builder, 'train').keys() == {
      'train/a/1.png', 'train/b/2.png'}
  assert _examples(builder, 'validation').keys() == {'val/a/3.png'}
  err = capsys.readouterr().err
  assert ('warning: some pictures are left out: '
          f'6 of 9 pictures in {root} cannot be used (train/a/cut.jpg: ') in err
  assert 'val/a/runs.bmp: BMP with a palette' in err and ' and 1 more).' in err
  # The tree is recognized, although pictures were left out of it.
  assert image_folder.find(image_tree.scan(root), 'mine', tmp_path / 'out')


@pytest.mark.parametrize('lost', ['train/b/2.png', 'val/a/3.png'])
def test_no_class_is_left_without_pictures(tmp_path, lost):
  root = _bad(tmp_path / 'in')
  (root / lost).write_bytes(b'no picture')
  split = 'train' if lost.startswith('train') else 'validation'
  with pytest.raises(
      UserError, match=f'of class {lost[-7]} in {split} that can be used'):
    _prepare(root, tmp_path / 'out', skip_bad_images=True)
  assert not list((tmp_path / 'out').iterdir())


def test_a_slice_is_a_random_sample(tmp_path):
  root = write_pictures(tmp_path / 'in', *(
      f'{name}/{i}.png' for name in 'ab' for i in range(20)))
  builder = _prepare(root, tmp_path / 'out')
  half = [label for _, label in _examples(builder, 'train[:50%]').values()]
  # By chance 10, with a standard deviation of 1.6; unmixed 20 or 0.
  assert len(half) == 20 and 5 <= sum(half) <= 15


def test_few_pictures_are_read_ahead(tmp_path, monkeypatch):
  read = []
  monkeypatch.setattr(picture_file, 'read', lambda path, **_: read.append(path))
  stream = image_folder._read_all(
      os.fspath(tmp_path), ((f'{i}.png', 0) for i in range(10_000)), False,
      None)
  for _ in itertools.islice(stream, 300):
    pass
  stream.close()
  assert 300 <= len(read) <= 300 + 65


_READ = """
import sys, tensorflow_datasets as tfds
for builder in (tfds.builder('mine', data_dir=sys.argv[1]),
                tfds.builder_from_directory(sys.argv[1] + '/mine/1.0.0')):
  for example in builder.as_dataset(split='train').as_numpy_iterator():
    print(example['file_name'].decode(), example['label'],
          builder.info.features['label'].int2str(example['label']),
          *example['image'].shape, example['image'].sum())
assert 'pipelines' not in sys.modules
"""


@pytest.mark.slow
def test_reading_needs_none_of_this_code(tmp_path):
  root = write_pictures(tmp_path / 'in', 'a/0.png', 'b/1.png')
  _prepare(root, tmp_path / 'out')
  done = subprocess.run(
      [sys.executable, '-c', _READ, tmp_path / 'out'], cwd=tmp_path,
      capture_output=True, text=True, check=True)
  assert sorted(done.stdout.splitlines()) == sorted(2 * [
      f'a/0.png 0 a 6 5 3 {pixels(0).sum()}',
      f'b/1.png 1 b 6 5 3 {pixels(1).sum()}'])


def _killed_while_reading(root, data_dir):
  def read(path, read=picture_file.read, **options):
    if path.endswith('9.png'):
      # Writing has begun.
      assert list(pathlib.Path(data_dir, 'mine').iterdir())
      os.kill(os.getpid(), signal.SIGKILL)
    return read(path, **options)

  picture_file.read = read
  _prepare(root, data_dir)


@pytest.mark.slow
def test_a_crash_leaves_nothing_that_looks_prepared(tmp_path):
  root = write_pictures(tmp_path / 'in', 'a/1.png', 'b/2.png', 'b/9.png')
  process = _FORKS.Process(
      target=_killed_while_reading, args=(root, tmp_path / 'out'))
  process.start()
  process.join(600)
  assert process.exitcode == -signal.SIGKILL
  with pytest.raises(tfds.core.registered.DatasetNotFoundError):
    tfds.builder('mine', data_dir=tmp_path / 'out')
  assert len(_examples(_prepare(root, tmp_path / 'out'), 'train')) == 3


def test_another_process_may_prepare_the_same_faster(tmp_path, monkeypatch):
  root = write_pictures(tmp_path / 'in', 'a/1.png', 'b/2.png')
  download_and_prepare = tfds.dataset_builders.AdhocBuilder.download_and_prepare

  def slower(builder, **options):
    def read(path, read=picture_file.read, **flags):
      monkeypatch.undo()
      _prepare(root, tmp_path / 'out')
      return read(path, **flags)
    monkeypatch.setattr(picture_file, 'read', read)
    download_and_prepare(builder, **options)

  monkeypatch.setattr(
      tfds.dataset_builders.AdhocBuilder, 'download_and_prepare', slower)
  assert len(_examples(_prepare(root, tmp_path / 'out'), 'train')) == 2


def test_only_what_was_prepared_from_the_same_files_is_found(tmp_path):
  root = write_pictures(tmp_path / 'in', 'a/1.png', 'b/2.png', 'b/3.png')
  out = os.fspath(tmp_path / 'out')
  tree = image_tree.scan(root)
  assert image_folder.find(tree, 'mine', out) is None
  _prepare(root, out)
  builder = image_folder.find(image_tree.scan(root), 'mine', out)
  assert builder.info.splits['train'].num_examples == 3
  assert image_folder.find(tree, 'other', out) is None
  (root / 'b/3.png').rename(root / 'a/3.png')  # As many files and classes.
  with pytest.raises(UserError) as raised:
    image_folder.find(image_tree.scan(root), 'mine', out)
  for word in (f'{out}/mine/1.0.0 already exists and was not prepared from',
               os.fspath(root), 'delete it',
               'a name other than --dataset=mine'):
    assert word in str(raised.value)


def test_a_folder_in_the_way_is_left_alone(tmp_path):
  tree = image_tree.scan(write_pictures(tmp_path / 'in', 'a/1.png', 'b/2.png'))
  (tmp_path / 'mine/1.0.0').mkdir(parents=True)
  with pytest.raises(UserError, match='mine/1.0.0 already exists'):
    image_folder.find(tree, 'mine', tmp_path)


def test_tilted_pictures_are_turned_and_counted(tmp_path, capsys):
  root = write_tilted(tmp_path / 'in')
  builder = _prepare(root, tmp_path / 'out')
  assert capsys.readouterr().out == (
      'Turned 3 of 5 pictures upright, as their EXIF orientation says; '
      '--keep_orientation leaves them as they are.\n')
  examples = _examples(builder, 'train')
  for name, (stored, _) in examples.items():
    # Upright, they are all wider than high, and brighter at the top.
    image = tf.io.decode_image(stored, 3, expand_animations=False).numpy()
    assert image.shape == (16, 24, 3), name
    assert image[:8].mean() > 200 and image[8:].mean() < 50, name
  for name in 'a/upright.jpg', 'b/plain.jpg':
    assert examples[name][0] == (root / name).read_bytes()


def test_tilted_pictures_may_be_kept(tmp_path, capsys):
  root = write_tilted(tmp_path / 'in')
  builder = _prepare(root, tmp_path / 'out', keep_orientation=True)
  assert capsys.readouterr().out.startswith('Left 3 of 5 pictures as they are')
  for name, (stored, _) in _examples(builder, 'train').items():
    assert stored == (root / name).read_bytes(), name
  # What was prepared in one way is not taken for what was prepared in another.
  tree = image_tree.scan(root)
  assert image_folder.find(
      tree, 'mine', tmp_path / 'out', keep_orientation=True)
  with pytest.raises(UserError, match='now, in the same way: delete it'):
    image_folder.find(tree, 'mine', tmp_path / 'out')


def test_what_is_changed_or_loses_bits_is_counted(tmp_path, capsys):
  root = write_pictures(tmp_path / 'in', 'a/1.png', 'b/2.png')
  rgba = Image.fromarray(pixels(1, (6, 5, 4)))
  (root / 'a/3.webp').write_bytes(encoded(rgba, 'WEBP', lossless=True))
  (root / 'b/4.png').write_bytes(
      encoded(Image.fromarray(pixels(2, (6, 5), np.uint16)), 'PNG'))
  _prepare(root, tmp_path / 'out')
  first, second = capsys.readouterr().out.splitlines()
  assert first.startswith('Stored 1 of 4 pictures as PNG: WebP with an alpha')
  assert second.startswith('1 of 4 pictures have 16 bits per channel')


@pytest.mark.parametrize('name', [
    'brackets [1]', 'a*b', 'a?b', 'back\\slash', 'quote\'"', 'a b ', 'café',
    '$HOME', '~', '{a,b}', 'a%20b', 'a,b'])
def test_any_name_of_a_folder_can_be_written_and_read(tmp_path, name):
  root = write_pictures(tmp_path / f'{name} in', 'a/0.png', 'b/1.png')
  # What a pattern would find instead.
  for other in 'brackets 1', 'aab':
    (tmp_path / other / 'mine/1.0.0').mkdir(parents=True)
  out = tmp_path / name
  assert image_folder.find(image_tree.scan(root), 'mine', out) is None
  assert len(_examples(_prepare(root, out), 'train')) == 2
  assert image_folder.find(image_tree.scan(root), 'mine', out)
  found = tfds_directory.builder('mine', os.fspath(out))
  span, = tfds_directory.spans(found, 'mine', 'train')
  assert span.take == 2 and os.path.isfile(span.path)


def test_a_damaged_data_set_of_that_name_is_named(tmp_path):
  root = write_pictures(tmp_path / 'in', 'a/0.png', 'b/1.png')
  _prepare(root, tmp_path / 'out')
  (tmp_path / 'out/mine/1.0.0/dataset_info.json').write_bytes(bytes(100))
  with pytest.raises(UserError) as raised:
    image_folder.find(image_tree.scan(root), 'mine', tmp_path / 'out')
  assert '1.0.0 already exists and cannot be opened (' in str(raised.value)


@pytest.mark.parametrize('error, kind, words', [
    (OSError(errno.ENOSPC, 'No space left on device'), UserError,
     'out cannot be written (No space left on device): give a writable'),
    (OSError('Not enough disk space. Needed: 5'), UserError,
     'cannot be written (Not enough disk space. Needed: 5): give a writable'),
    (tf.errors.ResourceExhaustedError(None, None, 'x; No space left'),
     UserError, 'cannot be written (x; No space left): give a writable'),
    (OSError(errno.EIO, 'Input/output error'), TryAgain,
     'cannot be written (Input/output error): rerun'),
    (OSError(errno.EACCES, 'Permission denied', '/elsewhere/x'), UserError,
     '/elsewhere/x cannot be used (Permission denied): give'),
])
def test_what_cannot_be_written_is_told_with_its_cause(
    tmp_path, monkeypatch, error, kind, words):
  root = write_pictures(tmp_path / 'in', 'a/0.png', 'b/1.png')

  def fail(builder, **options):
    raise error

  monkeypatch.setattr(
      tfds.dataset_builders.AdhocBuilder, 'download_and_prepare', fail)
  with pytest.raises(kind) as raised:
    _prepare(root, tmp_path / 'out')
  assert words in str(raised.value)


def test_a_disk_that_is_full_is_told_and_nothing_is_left(tmp_path):
  root = write_pictures(tmp_path / 'in', 'a/0.png', 'b/1.png')
  Image.fromarray(pixels(2, (300, 300, 3))).save(root / 'a/large.png')
  limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, most))
  try:
    with pytest.raises(UserError) as raised:
      _prepare(root, tmp_path / 'out')
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
  assert str(raised.value).startswith(
      f'--data_dir={tmp_path}/out cannot be written (')
  assert 'File too large): give a writable folder' in str(raised.value)
  assert not list((tmp_path / 'out').iterdir())
  assert len(_examples(_prepare(root, tmp_path / 'out'), 'train')) == 3


@pytest.mark.parametrize('name, words', [
    *((name, 'is not a valid name') for name in (
        '', 'Mine', '1st', 'my-pictures', 'a/b', 'mine:1.0.0', 'a\n',
        'huggingface:mnist', '..', 101 * 'a')),
    ('cifar10', 'my_cifar10'), ('digits', 'my_digits')])
def test_invalid_and_public_names_are_refused(tmp_path, name, words):
  tree = image_tree.scan(write_pictures(tmp_path, 'a/1.png', 'b/2.png'))
  with pytest.raises(UserError) as raised:
    image_folder.find(tree, name, tmp_path)
  assert f'--dataset={name} ' in str(raised.value)
  assert words in str(raised.value)
