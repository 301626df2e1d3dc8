"""A tree of pictures becomes a data set, or a sentence says why not."""
import io
import itertools
import multiprocessing
import os
import pathlib
import shlex
import signal
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from configs.process.errors import UserError
from pipelines import image_folder, prepare
from tests import processes

_FORKS = multiprocessing.get_context('forkserver')


def _pixels(seed, shape=(6, 5, 3), dtype=np.uint8):
  return np.random.default_rng(seed).integers(
      0, np.iinfo(dtype).max + 1, shape, dtype)


def _picture(path, seed=0):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(_pixels(seed)).save(path)


def _pictures(root, *names):
  for seed, name in enumerate(names):
    _picture(root / name, seed)
  return root


def _prepare(root, data_dir, name='mine', skip_bad_images=False):
  return image_folder.prepare(
      image_folder.scan(root), name, data_dir, skip_bad_images=skip_bad_images)


def _examples(builder, split):
  """{file_name: (bytes, label)} as TFDS reads them."""
  dataset = builder.as_dataset(
      split=split, decoders={'image': tfds.decode.SkipDecoding()})
  return {example['file_name'].decode(): (example['image'], example['label'])
          for example in dataset.as_numpy_iterator()}


def _refused(root):
  with pytest.raises(UserError) as raised:
    image_folder.scan(root)
  return str(raised.value)


def test_one_split(tmp_path, capsys):
  root = _pictures(tmp_path / 'in', 'dog/1.png', 'cat/x/y/2.JPG', 'cat/3.jpeg',
                   'cat/.4.png', '.git/5.png', 'dog/.cache/6.png', 'Ape/7.png')
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
def test_three_splits(tmp_path, validation):
  root = _pictures(tmp_path / 'in', 'test/b/1.png', 'train/b/2.png',
                   f'{validation}/b/3.png', 'train/a/4.png', 'train/b/5.png')
  builder = _prepare(root, tmp_path / 'out')
  assert builder.info.features['label'].names == ['a', 'b']
  assert {split: {name: label for name, (_, label) in _examples(
      builder, split).items()} for split in builder.info.splits} == {
          'train': {'train/a/4.png': 0, 'train/b/2.png': 1, 'train/b/5.png': 1},
          'validation': {f'{validation}/b/3.png': 1},
          'test': {'test/b/1.png': 1}}


def test_a_class_may_be_called_train(tmp_path):
  root = _pictures(tmp_path, 'train/1.png', 'train/steam/2.png', 'plane/3.png')
  assert image_folder.scan(root).splits == {'train': [
      ('plane/3.png', 0), ('train/1.png', 1), ('train/steam/2.png', 1)]}


def test_links_are_followed(tmp_path):
  _pictures(tmp_path, 'in/a/1.png', 'in/b/2.png', 'elsewhere/deep/3.png')
  (tmp_path / 'in/c').symlink_to(tmp_path / 'elsewhere')
  (tmp_path / 'in/b/d').symlink_to(tmp_path / 'elsewhere/deep')
  assert image_folder.scan(tmp_path / 'in').splits == {'train': [
      ('a/1.png', 0), ('b/2.png', 1), ('b/d/3.png', 1), ('c/deep/3.png', 2)]}


def test_other_files_are_left_out_in_one_warning(tmp_path, capsys):
  root = _pictures(tmp_path, 'a/1.png', 'b/2.png', 'stray.png')
  others = ['a/notes.txt', 'b/c/x.webp', *(f'{i}.csv' for i in range(6))]
  for name in others:
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text('')
  assert image_folder.scan(root).splits == {
      'train': [('a/1.png', 0), ('b/2.png', 1)]}
  out, err = capsys.readouterr()
  assert out == '' and err == (
      'warning: 9 files are left out (0.csv, 1.csv, 2.csv, 3.csv, 4.csv and 4 '
      'more): only .jpg, .jpeg, .png, .bmp, .gif in folders of classes are '
      'read.\n')


def _encoded(picture, kind, **options):
  file = io.BytesIO()
  picture.save(file, kind, **options)
  return file.getvalue()


def _kinds():
  """{file name: bytes, pixels uint8 [h, w, 3], largest difference}."""
  rgb = Image.fromarray(_pixels(1))
  grey = rgb.convert('L')
  deep = _pixels(2, (6, 5), np.uint16)
  palette = rgb.quantize(7)
  later = rgb.transpose(Image.Transpose.FLIP_LEFT_RIGHT).quantize(7)
  cases = {
      # Of colour conversion, which Pillow and TensorFlow round differently.
      'cmyk.jpg': (_encoded(rgb.convert('CMYK'), 'JPEG'), None, 3),
      'grey.jpg': (_encoded(grey, 'JPEG'), None, 1),
      'deep.png': (_encoded(Image.fromarray(deep), 'PNG'),
                   (deep >> 8)[..., None].repeat(3, 2), 0),
      'palette.png': (_encoded(palette, 'PNG', transparency=3), None, 0),
      'alpha.png': (_encoded(rgb.convert('RGBA'), 'PNG'), None, 0),
      'bits.png': (_encoded(grey.convert('1'), 'PNG'), None, 0),
      'film.gif': (_encoded(palette, 'GIF', save_all=True,
                            append_images=[later]), None, 0),
      'color.bmp': (_encoded(rgb, 'BMP'), None, 0),
      'grey.bmp': (_encoded(grey, 'BMP'), None, 0)}
  return {name: (encoded, np.asarray(Image.open(io.BytesIO(encoded)).convert(
      'RGB')) if pixels is None else pixels, difference)
          for name, (encoded, pixels, difference) in cases.items()}


def test_every_kind_of_picture_is_stored_as_it_is(tmp_path):
  kinds = _kinds()
  root = _pictures(tmp_path / 'in', 'b/1.png', 'a/0.png')
  for name, (encoded, _, _) in kinds.items():
    (root / 'a' / name).write_bytes(encoded)
  examples = _examples(_prepare(root, tmp_path / 'out'), 'train')
  assert len(examples) == 2 + len(kinds)
  for name, (encoded, pixels, difference) in kinds.items():
    stored, label = examples[f'a/{name}']
    assert (stored, label) == (encoded, 0)
    decoded = tf.io.decode_image(
        stored, channels=3, expand_animations=False).numpy()
    np.testing.assert_allclose(
        decoded.astype(int), pixels, rtol=0, atol=difference, err_msg=name)


def _compressed_bmp():
  """Run lengths of greys: right to begin with, but not as TensorFlow reads."""
  raw = bytearray(_encoded(Image.new('L', (4, 400), 9), 'BMP'))
  raw[30] = 1  # BI_RLE8
  return bytes(raw)


def _bad(root):
  """Five pictures that cannot be decoded, or not rightly, among two good."""
  _pictures(root, 'train/a/1.png', 'train/b/2.png', 'val/a/3.png')
  jpeg = _encoded(Image.fromarray(_pixels(3, (60, 60, 3))), 'JPEG')
  (root / 'train/a/cut.jpg').write_bytes(jpeg[:len(jpeg) // 2])
  (root / 'train/a/gone.jpg').symlink_to(root / 'nowhere')
  (root / 'train/b/void.gif').write_bytes(b'')
  # TensorFlow would take indices into the palette for greys.
  Image.fromarray(_pixels(1)).quantize(7).save(root / 'val/a/palette.bmp')
  (root / 'val/a/runs.bmp').write_bytes(_compressed_bmp())
  return root


def test_bad_pictures_are_all_found_and_nothing_is_left(tmp_path):
  root = _bad(tmp_path / 'in')
  with pytest.raises(UserError) as raised:
    _prepare(root, tmp_path / 'out')
  assert str(raised.value) == (
      f'5 of 8 pictures in {root} cannot be decoded (train/a/cut.jpg, '
      'train/a/gone.jpg, train/b/void.gif, val/a/palette.bmp, val/a/runs.bmp): '
      'delete them, save them as PNG, or give --skip_bad_images.')
  assert not list((tmp_path / 'out').iterdir())


def test_bad_pictures_are_left_out_if_asked(tmp_path, capsys):
  root = _bad(tmp_path / 'in')
  (root / 'val/a/x.png').write_bytes(b'no picture')
  builder = _prepare(root, tmp_path / 'out', skip_bad_images=True)
  assert _examples(builder, 'train').keys() == {
      'train/a/1.png', 'train/b/2.png'}
  assert _examples(builder, 'validation').keys() == {'val/a/3.png'}
  assert (f'warning: 6 of 9 pictures in {root} cannot be decoded '
          '(train/a/cut.jpg, train/a/gone.jpg, train/b/void.gif, '
          'val/a/palette.bmp, val/a/runs.bmp and 1 more): left out.'
          ) in capsys.readouterr().err
  # The same tree is known again, whatever was left out of it.
  assert image_folder.find(image_folder.scan(root), 'mine', tmp_path / 'out')


@pytest.mark.parametrize('lost', ['train/b/2.png', 'val/a/3.png'])
def test_no_class_is_left_without_pictures(tmp_path, lost):
  root = _bad(tmp_path / 'in')
  (root / lost).write_bytes(b'no picture')
  split = 'train' if lost.startswith('train') else 'validation'
  with pytest.raises(UserError, match=f'of class {lost[-7]} in {split}'):
    _prepare(root, tmp_path / 'out', skip_bad_images=True)
  assert not list((tmp_path / 'out').iterdir())


def test_a_slice_is_a_random_mixture(tmp_path):
  root = _pictures(tmp_path / 'in', *(
      f'{name}/{i}.png' for name in 'ab' for i in range(20)))
  builder = _prepare(root, tmp_path / 'out')
  half = [label for _, label in _examples(builder, 'train[:50%]').values()]
  # By chance 10, with a standard deviation of 1.6; unmixed 20 or 0.
  assert len(half) == 20 and 5 <= sum(half) <= 15


def test_few_pictures_are_read_ahead(tmp_path, monkeypatch):
  read = []
  monkeypatch.setattr(image_folder, '_read', read.append)
  stream = image_folder._read_all(
      os.fspath(tmp_path), ((f'{i}.png', 0) for i in range(10_000)))
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


def test_reading_needs_none_of_this_code(tmp_path):
  root = _pictures(tmp_path / 'in', 'a/0.png', 'b/1.png')
  _prepare(root, tmp_path / 'out')
  done = subprocess.run(
      [sys.executable, '-c', _READ, tmp_path / 'out'], cwd=tmp_path,
      capture_output=True, text=True, check=True)
  assert sorted(done.stdout.splitlines()) == sorted(2 * [
      f'a/0.png 0 a 6 5 3 {_pixels(0).sum()}',
      f'b/1.png 1 b 6 5 3 {_pixels(1).sum()}'])


def _killed_while_reading(root, data_dir):
  def read(path, read=image_folder._read):
    if path.endswith('9.png'):
      assert list(pathlib.Path(data_dir, 'mine').iterdir())  # It has begun.
      os.kill(os.getpid(), signal.SIGKILL)
    return read(path)

  image_folder._read = read
  _prepare(root, data_dir)


def test_a_crash_leaves_nothing_that_looks_prepared(tmp_path):
  root = _pictures(tmp_path / 'in', 'a/1.png', 'b/2.png', 'b/9.png')
  process = _FORKS.Process(
      target=_killed_while_reading, args=(root, tmp_path / 'out'))
  process.start()
  process.join(600)
  assert process.exitcode == -signal.SIGKILL
  with pytest.raises(tfds.core.registered.DatasetNotFoundError):
    tfds.builder('mine', data_dir=tmp_path / 'out')
  assert len(_examples(_prepare(root, tmp_path / 'out'), 'train')) == 3


def test_another_process_that_is_faster(tmp_path, monkeypatch):
  root = _pictures(tmp_path / 'in', 'a/1.png', 'b/2.png')
  download_and_prepare = tfds.dataset_builders.AdhocBuilder.download_and_prepare

  def slower(builder, **options):
    def read(path, read=image_folder._read):
      monkeypatch.undo()
      _prepare(root, tmp_path / 'out')
      return read(path)
    monkeypatch.setattr(image_folder, '_read', read)
    download_and_prepare(builder, **options)

  monkeypatch.setattr(
      tfds.dataset_builders.AdhocBuilder, 'download_and_prepare', slower)
  assert len(_examples(_prepare(root, tmp_path / 'out'), 'train')) == 2


def test_what_is_prepared_is_found(tmp_path):
  root = _pictures(tmp_path / 'in', 'a/1.png', 'b/2.png', 'b/3.png')
  out = os.fspath(tmp_path / 'out')
  tree = image_folder.scan(root)
  assert image_folder.find(tree, 'mine', out) is None
  _prepare(root, out)
  builder = image_folder.find(image_folder.scan(root), 'mine', out)
  assert builder.info.splits['train'].num_examples == 3
  assert image_folder.find(tree, 'other', out) is None
  (root / 'b/3.png').rename(root / 'a/3.png')  # As many files and classes.
  with pytest.raises(UserError) as raised:
    image_folder.find(image_folder.scan(root), 'mine', out)
  for word in (f'{out}/mine/1.0.0 is there', os.fspath(root), 'delete it',
               'another name than --dataset=mine'):
    assert word in str(raised.value)


def test_a_folder_in_the_way_is_left_alone(tmp_path):
  tree = image_folder.scan(_pictures(tmp_path / 'in', 'a/1.png', 'b/2.png'))
  (tmp_path / 'mine/1.0.0').mkdir(parents=True)
  with pytest.raises(UserError, match='mine/1.0.0 is there already'):
    image_folder.find(tree, 'mine', tmp_path)


@pytest.mark.parametrize('name, words', [
    ('', 'is no name'), ('Mine', 'is no name'), ('1st', 'is no name'),
    ('my-pictures', 'is no name'), ('a/b', 'is no name'),
    ('mine:1.0.0', 'is no name'),
    ('cifar10', 'my_cifar10'), ('digits', 'my_digits')])
def test_names_that_cannot_be(tmp_path, name, words):
  tree = image_folder.scan(_pictures(tmp_path, 'a/1.png', 'b/2.png'))
  with pytest.raises(UserError) as raised:
    image_folder.find(tree, name, tmp_path)
  assert f'--dataset={name} ' in str(raised.value)
  assert words in str(raised.value)


@pytest.mark.parametrize('folder, name', [
    ('/x/OxfordPets-2/', 'oxford_pets_2'), ('/x/my  pictures', 'my_pictures'),
    ('/x/102flowers', 'pictures_102flowers'), ('/x/.hidden.d', 'hidden_d'),
    ('/x/Möwen', 'm_wen'), ('/x/猫', ''), ('/', ''), ('/x/y/..', 'x')])
def test_the_default_name(folder, name):
  assert image_folder.default_name(folder) == name


@pytest.mark.parametrize('names, words', [
    ([], ['has no class folders, nor pictures']),
    (['1.png'], ['has no class folders, its pictures lie directly in it']),
    (['cat/1.png'], ['has a single class folder, cat']),
    (['train/1.png', 'test/2.png'], ['no class folders in train']),
    (['train/a/1.png', 'test/a/2.png'], ['a single class folder, a']),
    (['train/a/1.png', 'train/b/2.png', 'extra/3.png'],
     ['has folders (extra) beside', '(train): move them out of it']),
    (['val/a/1.png', 'test/a/2.png'],
     ['has the splits test, val', 'one train']),
    (['train/a/1.png', 'val/a/2.png', 'valid/a/2.png'],
     ['has the splits train, val, valid', 'at most one val']),
    (['train/a/1.png', 'train/b/2.png', 'val/c/2.png', 'test/d/2.png'],
     ['has a class c in validation that train has not']),
])
def test_trees_that_are_none(tmp_path, names, words):
  message = _refused(_pictures(tmp_path, *names))
  for word in (f'--image_folder={tmp_path} ', *words):
    assert word in message


def test_a_class_without_pictures(tmp_path):
  _pictures(tmp_path, 'a/1.png', 'b/2.png')
  (tmp_path / 'c').mkdir()
  (tmp_path / 'c/x.webp').write_text('')
  assert 'in the folder c: add' in _refused(tmp_path)


def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
  _pictures(tmp_path, 'a/1.png', 'b/2.png')
  scandir = os.scandir

  def refuse(path):  # Root may read all.
    if os.fspath(path).endswith('/b'):
      raise PermissionError(13, 'Permission denied', path)
    return scandir(path)

  monkeypatch.setattr(os, 'scandir', refuse)
  assert _refused(tmp_path).startswith(
      f'{tmp_path}/b cannot be read (Permission denied)')


def test_a_name_that_is_not_utf_8(tmp_path):
  root = _pictures(tmp_path, 'a/1.png', 'b/2.png')
  os.rename(root / 'a', os.fsencode(root) + b'/M\xf6we')
  assert 'names that are not UTF-8' in _refused(root)


def _run(*flags):
  return processes.run('pipelines.prepare', *flags)


def test_the_binary(tmp_path):
  root = _pictures(tmp_path / 'OxfordPets', 'a/1.png', 'b/2.png', 'b/3.png')
  flags = f'--image_folder={root}', f'--data_dir={tmp_path}/my data'
  first, second = _run(*flags), _run(*flags)
  assert (first.code, second.code) == (0, 0), first.err + second.err
  sentence, command = first.out.splitlines()
  assert sentence == (f'oxford_pets/1.0.0 is prepared in {tmp_path}/my data/'
                      'oxford_pets/1.0.0 (train 3 examples). Train with')
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
  command = shlex.split(prepare._next_command('mine', splits, 'out'))
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
def test_what_the_binary_refuses(tmp_path, flags, words):
  root = _pictures(tmp_path / 'in', 'a/1.png', 'b/2.png')
  result = _run(*(flag.replace('{in}', os.fspath(root)) for flag in flags))
  assert result.code == 2 and 'Traceback' not in result.err
  line = result.err.splitlines()[-1]
  assert line.startswith('error: ') and line.endswith('.') and words in line
