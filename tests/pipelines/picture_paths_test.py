"""Arguments name pictures: in their order, none left out without a word."""
import io
import os

import pytest

from configs.process.errors import UserError
from pipelines import picture_paths


@pytest.fixture(name='root')
def _root(tmp_path, monkeypatch):
  """A folder of empty files; the working directory."""
  for name in ('b/2.jpg', 'b/10.JPEG', 'b/a/x.png', 'b/readme.txt',
               'b/.hidden.png', 'b/.git/y.png', 'a.webp', 'empty/note.md'):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
  monkeypatch.chdir(tmp_path)
  return tmp_path


def _find(*arguments, stdin=b''):
  return picture_paths.find(arguments, io.BytesIO(stdin))


def test_folders_are_searched_and_sorted_in_the_order_of_arguments(root):
  assert _find('b', 'a.webp').files == [
      'b/10.JPEG', 'b/2.jpg', 'b/a/x.png', 'a.webp']
  assert _find('a.webp', f'{root}/b/', '.').files == [
      'a.webp', *(f'{root}/b/{name}' for name in (
          '10.JPEG', '2.jpg', 'a/x.png')),
      './a.webp', './b/10.JPEG', './b/2.jpg', './b/a/x.png']


def test_files_are_taken_whatever_they_are_called_and_as_often(root):
  del root
  assert _find('b/readme.txt', 'nowhere', 'a.webp', 'a.webp') == (
      ['b/readme.txt', 'nowhere', 'a.webp', 'a.webp'], [], [], [])


def test_a_list_has_files_and_folders(root):
  del root
  found = _find('a.webp', '-', stdin=b'b/a\r\n\n\xe9 ,"x.png\n-\nb/2.jpg')
  assert found.files == ['a.webp', 'b/a/x.png', '\udce9 ,"x.png', '-',
                         'b/2.jpg']
  assert os.fsencode(found.files[2]) == b'\xe9 ,"x.png'


@pytest.mark.parametrize('stdin', [io.BytesIO(), io.BytesIO(b'\n\r\n'), None])
def test_an_empty_list(stdin):
  with pytest.raises(UserError, match='- reads the paths of pictures from st'):
    picture_paths.find(['-'], stdin)


def test_folders_without_pictures_are_named(root):
  (root / 'none').mkdir()
  assert _find('empty', 'b/a', 'none') == (
      ['b/a/x.png'], [], ['empty', 'none'], ['empty/note.md'])


def test_folders_that_cannot_be_read_are_named(root, monkeypatch):
  listdir = os.listdir

  def fail(path):
    if os.fspath(path) == 'b/a':
      raise PermissionError(13, 'Permission denied', path)
    return listdir(path)

  monkeypatch.setattr(os, 'listdir', fail)
  assert _find('b') == (
      ['b/10.JPEG', 'b/2.jpg'], [('b/a', 'Permission denied')], [],
      ['b/readme.txt'])
  assert _find('b/a') == ([], [('b/a', 'Permission denied')], [], [])


def test_links_are_followed_but_not_in_circles(root):
  (root / 'link').symlink_to('b')
  (root / 'b' / 'up').symlink_to('..')
  (root / 'lost.png').symlink_to('nowhere.png')
  assert _find('link').files == [
      'link/10.JPEG', 'link/2.jpg', 'link/a/x.png', 'link/up/a.webp',
      'link/up/lost.png']
