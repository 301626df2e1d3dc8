"""Scanning a folder of pictures, and every reason to refuse one."""
import os
import socket
import unicodedata

import pytest

from configs.process.errors import UserError
from pipelines import image_tree
from tests.tiny_dataset import write_pictures

_COMPOSED, _DECOMPOSED = (unicodedata.normalize(form, 'café')
                          for form in ('NFC', 'NFD'))


def _refused(root):
  with pytest.raises(UserError) as raised:
    image_tree.scan(root)
  return str(raised.value)


def _names(root):
  """Returns {class: names of its pictures} of the training split."""
  tree = image_tree.scan(root)
  return {name: [file for file, i in tree.splits['train'] if i == label]
          for label, name in enumerate(tree.classes)}


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


_TWO = {'cat': ['cat/1.png', 'cat/x/2.png'], 'dog': ['dog/3.png']}


def _two(tmp_path):
  """Writes three pictures of two classes, below a folder of other things."""
  write_pictures(tmp_path / 'home', 'album/other/4.png')
  return write_pictures(
      tmp_path / 'home/in', 'cat/1.png', 'cat/x/2.png', 'dog/3.png')


@pytest.mark.parametrize('link, target', [
    ('cat/self', '.'), ('cat/up', '..'), ('cat/x/up', '..'),
    ('cat/x/all', '../..'), ('loop', '.'), ('cat/home', '../..'),
    ('cat/x/home', '../../..'), ('cat/absolute', '{in}'),
    ('cat/x/absolute', '{in}/cat'), ('cat/root', '/')])
def test_a_link_to_a_folder_above_is_left_out(tmp_path, capsys, link, target):
  root = _two(tmp_path)
  (root / link).symlink_to(target.replace('{in}', os.fspath(root)))
  assert _names(root) == _TWO
  assert capsys.readouterr().err == (
      f'warning: ignoring links to a folder above them ({link}).\n')


def test_a_link_back_from_elsewhere_is_left_out(tmp_path, capsys):
  root = _two(tmp_path)
  (root / 'cat/out').symlink_to('../../album/other')
  (tmp_path / 'home/album/other/back').symlink_to('../../in/cat')
  (tmp_path / 'home/album/other/up').symlink_to('..')
  assert _names(root)['cat'] == ['cat/1.png', 'cat/out/4.png', 'cat/x/2.png']
  assert 'cat/out/back, cat/out/up' in capsys.readouterr().err


def test_a_class_has_a_picture_once_under_its_own_name(tmp_path, capsys):
  root = _two(tmp_path)
  (root / 'cat/0.png').symlink_to('1.png')
  (root / 'cat/0x').symlink_to('x')
  (root / 'cat/a.gif').symlink_to(root / 'cat/x/2.png')
  (root / 'cat/x/b.png').symlink_to('../0.png')
  assert _names(root) == _TWO
  assert capsys.readouterr().err == (
      'warning: ignoring links to what their class has already '
      '(cat/0.png, cat/0x, cat/a.gif, cat/x/b.png).\n')


def test_a_link_may_give_a_file_the_name_of_a_picture(tmp_path):
  root = _two(tmp_path)
  (root / 'cat/1.png').rename(root / 'cat/1')
  (root / 'cat/1.png').symlink_to('1')
  assert _names(root) == _TWO


def test_links_that_multiply_are_walked_once(tmp_path):
  root = _two(tmp_path)
  for level in range(30):  # 2^30 ways lead to the last one.
    (tmp_path / f'{level}').mkdir()
    for name in 'ab':
      (tmp_path / f'{level}' / name).symlink_to(tmp_path / f'{level + 1}')
  write_pictures(tmp_path, '30/5.png')
  (root / 'dog/deep').symlink_to(tmp_path / '0')
  assert len(_names(root)['dog']) == 2


@pytest.mark.parametrize('link, target, words', [
    ('cat/more', '../dog', 'pictures of one class the label of another '
     '(dog/3.png = cat/more/3.png)'),
    ('cat/3.png', '../dog/3.png', '(dog/3.png = cat/3.png)'),
    ('hound', 'dog', '(dog/3.png = hound/3.png)'),
])
def test_a_link_that_relabels_is_refused(tmp_path, link, target, words):
  root = _two(tmp_path)
  (root / link).symlink_to(target)
  message = _refused(root)
  assert words in message and message.endswith(': delete the links.')


def test_links_of_two_classes_to_one_picture_are_told(tmp_path, capsys):
  root = _two(tmp_path)
  for name in 'cat/4.png', 'dog/4.png':
    (root / name).symlink_to('../../album/other/4.png')
  assert _names(root)['dog'] == ['dog/3.png', 'dog/4.png']
  assert capsys.readouterr().err == (
      'warning: some pictures have two classes, because links from both lead '
      'to the same file (cat/4.png = dog/4.png).\n')


def test_links_of_two_splits_to_one_picture_are_told(tmp_path, capsys):
  root = write_pictures(tmp_path, 'train/a/1.png', 'train/b/2.png')
  (root / 'val').symlink_to('train')
  tree = image_tree.scan(root)
  assert tree.splits['validation'] == [('val/a/1.png', 0), ('val/b/2.png', 1)]
  err = capsys.readouterr().err
  assert err.startswith('warning: some pictures are in two splits') and (
      '(train/a/1.png = val/a/1.png, train/b/2.png = val/b/2.png)' in err)


def test_what_is_no_file_is_never_opened(tmp_path, capsys):
  root = _two(tmp_path)
  os.mkfifo(root / 'cat/pipe.jpg')
  (root / 'cat/endless.png').symlink_to('/dev/zero')
  with socket.socket(socket.AF_UNIX) as server:
    directory = os.open(root / 'cat', os.O_RDONLY)
    server.bind(f'/proc/self/fd/{directory}/socket.gif')  # Paths are short.
    os.close(directory)
  assert _names(root) == _TWO
  assert capsys.readouterr().err == (
      'warning: ignoring pipes, sockets and devices (cat/endless.png, '
      'cat/pipe.jpg, cat/socket.gif).\n')


def test_links_that_lead_nowhere_are_pictures_that_reading_refuses(tmp_path):
  root = _two(tmp_path)
  (root / 'cat/gone.jpg').symlink_to('/nowhere.jpg')
  (root / 'dog/gone.jpg').symlink_to('/nowhere.jpg')
  (root / 'dog/loop.jpg').symlink_to('loop.jpg')
  assert _names(root) == {
      'cat': ['cat/1.png', 'cat/gone.jpg', 'cat/x/2.png'],
      'dog': ['dog/3.png', 'dog/gone.jpg', 'dog/loop.jpg']}


@pytest.mark.parametrize('name, shown, words', [
    ('cat\nblack', "'cat\\nblack'", 'a line break or another control'),
    ('cat\rblack', "'cat\\rblack'", 'control character'),
    ('cat\x00'.replace('\x00', '\x1b'), "'cat\\x1b'", 'control character'),
    ('cat\u2028', "'cat\\u2028'", 'control character'),
    ('cat\x85', "'cat\\x85'", 'control character'),
    ('cat ', "'cat '", 'begins or ends with a space'),
    (' cat', "' cat'", 'begins or ends with a space'),
    (' ', "' '", 'begins or ends with a space'),
    ('cat\xa0', "'cat\\xa0'", 'begins or ends with a space'),
])
@pytest.mark.parametrize('split', ['', 'train', 'val'])
def test_class_names_that_tfds_cannot_keep(tmp_path, split, name, shown, words):
  root = write_pictures(tmp_path, *(
      f'{split and "train/"}{folder}/1.png' for folder in ('cat', 'dog')))
  write_pictures(root / split, f'{name}/2.png')
  message = _refused(root)
  assert f'has the class folder {shown}, ' in message and words in message
  assert message.endswith(': rename it.')


@pytest.mark.parametrize('name', [
    'black cat', 'café', '猫', 'a\u200cb', "'cat'", '[cat]', '-', '#', '0'])
def test_other_class_names_are_kept(tmp_path, name):
  root = write_pictures(tmp_path, f'{name}/1.png', 'dog/2.png')
  assert set(image_tree.scan(root).classes) == {name, 'dog'}


def test_two_spellings_of_one_class(tmp_path, capsys):
  root = write_pictures(tmp_path, f'{_COMPOSED}/1.png', 'bar/2.png')
  write_pictures(root, f'{_DECOMPOSED}/3.png')
  message = _refused(root)
  assert f'two class folders called {_COMPOSED} (' in message
  assert "'caf\\xe9'" in message and "'cafe\\u0301'" in message
  assert capsys.readouterr().err == ''


@pytest.mark.parametrize('train, val', [
    (_COMPOSED, _DECOMPOSED), (_DECOMPOSED, _COMPOSED)])
def test_a_class_may_be_spelled_otherwise_in_another_split(
    tmp_path, capsys, train, val):
  root = write_pictures(tmp_path, f'train/{train}/1.png', 'train/bar/2.png',
                        f'val/{val}/3.png', 'val/bar/4.png')
  tree = image_tree.scan(root)
  assert tree.classes == ['bar', train]
  assert tree.splits['validation'] == [
      ('val/bar/4.png', 0), (f'val/{val}/3.png', 1)]
  assert capsys.readouterr().err == ''


def test_a_class_that_is_not_evaluated_is_told(tmp_path, capsys):
  root = write_pictures(
      tmp_path, 'train/a/1.png', 'train/b/2.png', 'val/a/3.png')
  image_tree.scan(root)
  assert capsys.readouterr().err == (
      'warning: validation has no pictures of 1 of the 2 classes (b).\n')


def test_classes_that_differ_in_case_are_told(tmp_path, capsys):
  root = write_pictures(tmp_path, 'Cat/1.png', 'cat/2.png', 'caT/3.png',
                        'dog/4.png', 'STRASSE/5.png', 'stra\xdfe/6.png')
  assert len(image_tree.scan(root).classes) == 6
  assert capsys.readouterr().err == (
      'warning: some classes have names that differ only in case (Cat = caT = '
      'cat, STRASSE = stra\xdfe), but count as different classes.\n')


def test_other_files_are_ignored_with_one_warning(tmp_path, capsys):
  root = write_pictures(tmp_path, 'a/1.png', 'b/2.png', 'stray.png')
  others = ['a/notes.txt', 'b/c/x.tiff', *(f'{i}.csv' for i in range(6))]
  for name in others:
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text('')
  assert image_tree.scan(root).splits == {
      'train': [('a/1.png', 0), ('b/2.png', 1)]}
  out, err = capsys.readouterr()
  assert out == '' and err == (
      'warning: ignoring 9 of 11 files (0.csv, 1.csv, 2.csv, 3.csv, 4.csv and '
      '4 more): only .jpg, .jpeg, .png, .bmp, .gif, .webp files in class '
      'folders are read.\n')


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
  (tmp_path / 'c/x.tiff').write_text('')
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
