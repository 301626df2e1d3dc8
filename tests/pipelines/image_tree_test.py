"""Scanning a folder of pictures, and every reason to refuse one."""
import os

import pytest

from configs.process.errors import UserError
from pipelines import image_tree
from tests.tiny_dataset import write_pictures


def _refused(root):
  with pytest.raises(UserError) as raised:
    image_tree.scan(root)
  return str(raised.value)


def test_a_class_may_be_called_train(tmp_path):
  root = write_pictures(
      tmp_path, 'train/1.png', 'train/steam/2.png', 'plane/3.png')
  assert image_tree.scan(root).splits == {'train': [
      ('plane/3.png', 0), ('train/1.png', 1), ('train/steam/2.png', 1)]}


def test_links_are_followed(tmp_path):
  write_pictures(
      tmp_path, 'in/a/1.png', 'in/b/2.png', 'elsewhere/deep/3.png')
  (tmp_path / 'in/c').symlink_to(tmp_path / 'elsewhere')
  (tmp_path / 'in/b/d').symlink_to(tmp_path / 'elsewhere/deep')
  assert image_tree.scan(tmp_path / 'in').splits == {'train': [
      ('a/1.png', 0), ('b/2.png', 1), ('b/d/3.png', 1), ('c/deep/3.png', 2)]}


def test_other_files_are_ignored_with_one_warning(tmp_path, capsys):
  root = write_pictures(tmp_path, 'a/1.png', 'b/2.png', 'stray.png')
  others = ['a/notes.txt', 'b/c/x.webp', *(f'{i}.csv' for i in range(6))]
  for name in others:
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text('')
  assert image_tree.scan(root).splits == {
      'train': [('a/1.png', 0), ('b/2.png', 1)]}
  out, err = capsys.readouterr()
  assert out == '' and err == (
      'warning: ignoring 9 of 11 files (0.csv, 1.csv, 2.csv, 3.csv, 4.csv and '
      '4 more): only .jpg, .jpeg, .png, .bmp, .gif files in class folders '
      'are read.\n')


@pytest.mark.parametrize('folder, name', [
    ('/x/OxfordPets-2/', 'oxford_pets_2'), ('/x/my  pictures', 'my_pictures'),
    ('/x/102flowers', 'pictures_102flowers'), ('/x/.hidden.d', 'hidden_d'),
    ('/x/Möwen', 'm_wen'), ('/x/猫', ''), ('/', ''), ('/x/y/..', 'x')])
def test_the_default_name_follows_the_style_of_tfds(folder, name):
  assert image_tree.default_name(folder) == name


@pytest.mark.parametrize('names, words', [
    ([], ['has no class folders and no pictures: give']),
    (['1.png'],
     ['has no class folders, and its pictures are directly inside it: give']),
    (['cat/1.png'], ['has only one class folder, cat: give']),
    (['train/1.png', 'test/2.png'], ['no class folders in train']),
    (['train/a/1.png', 'test/a/2.png'], ['only one class folder, a: give']),
    (['train/a/1.png', 'train/b/2.png', 'extra/3.png'],
     ['has other folders (extra) next to', '(train): move them out of it']),
    (['val/a/1.png', 'test/a/2.png'],
     ['has the splits test, val', 'one train']),
    (['train/a/1.png', 'val/a/2.png', 'valid/a/2.png'],
     ['has the splits train, val, valid', 'at most one val']),
    (['train/a/1.png', 'train/b/2.png', 'val/c/2.png', 'test/d/2.png'],
     ['has a class c in validation but not in train: add it to train']),
])
def test_folders_that_are_refused(tmp_path, names, words):
  message = _refused(write_pictures(tmp_path, *names))
  for word in (f'--image_folder={tmp_path} ', *words):
    assert word in message


def test_a_class_without_pictures_is_refused(tmp_path):
  write_pictures(tmp_path, 'a/1.png', 'b/2.png')
  (tmp_path / 'c').mkdir()
  (tmp_path / 'c/x.webp').write_text('')
  assert 'in the folder c: add' in _refused(tmp_path)


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
  write_pictures(tmp_path, 'a/1.png', 'b/2.png')
  scandir = os.scandir

  def refuse(path):  # Permissions would not stop root.
    if os.fspath(path).endswith('/b'):
      raise PermissionError(13, 'Permission denied', path)
    return scandir(path)

  monkeypatch.setattr(os, 'scandir', refuse)
  assert _refused(tmp_path).startswith(
      f'{tmp_path}/b cannot be read (Permission denied)')


def test_a_name_that_is_not_utf_8_is_refused(tmp_path):
  root = write_pictures(tmp_path, 'a/1.png', 'b/2.png')
  os.rename(root / 'a', os.fsencode(root) + b'/M\xf6we')
  assert 'names that are not UTF-8' in _refused(root)
