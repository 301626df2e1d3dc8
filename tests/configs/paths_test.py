"""Paths that users give are local, or refused in one sentence."""
import pathlib

import pytest

from configs.process import paths
from configs.process.errors import UserError


@pytest.mark.parametrize('text', [
    'runs/a', '/runs/a', 'a b', 'brackets [2]', 'back\\slash', 'gs:', 'a:b/c',
    'café', '日本　語', 'C', '.', 'x:', '1:/a'])
def test_local_paths_stay_as_they_are(text):
  assert paths.local(text, '--workdir') == pathlib.Path(text)


def test_the_longest_paths_are_local():
  for text in ('x' * 255, 'é' * 127, 'a/' * 2047):
    assert paths.local(text, '--workdir') == pathlib.Path(text)


def test_a_folder_named_like_a_home_is_not_one():
  """Nobody who gets the path may expand it once more."""
  assert paths.local('./~', '--workdir') == pathlib.Path.cwd() / '~'


@pytest.mark.parametrize('home', ['', 'relative', '~'])
def test_a_home_that_is_none(monkeypatch, home):
  monkeypatch.setenv('HOME', home)
  with pytest.raises(UserError, match='begins with ~, but there is no home'):
    paths.local('~/runs', '--workdir')


def test_home_is_expanded(monkeypatch):
  monkeypatch.setenv('HOME', '/home/somebody')
  assert paths.local('~/runs', '--workdir') == pathlib.Path(
      '/home/somebody/runs')


@pytest.mark.parametrize('text, words', [
    ('gs://bucket/run', '--workdir=gs://bucket/run is not a folder on this'),
    ('s3://bucket/run', 'mount the remote folder'),
    ('S3://bucket/run', 'mount the remote folder'),
    ('file:///runs', 'give a local path'),
    ('file:/runs', 'give a local path'),
    ('hdfs://host:9000/run', 'give a local path'),
    ('ram://x', 'give a local path'),
    ('', '--workdir= is empty'),
    ('  ', 'is empty'),
    ('a\0b', '--workdir=a?b has control characters'),
    ('a\nb', '--workdir=a?b has control characters'),
    ('a\udcffb', '--workdir=a?b is not UTF-8'),
    ('~no-such-user/x', '--workdir=~no-such-user/x begins with ~no-such-user, '
     'but there is no home folder'),
    ('a/' + 'x' * 256, 'is too long: give a path of at most 4095 bytes, with '
     'names of at most 255'),
    ('é' * 128, 'is too long'),
    ('a/' * 2048, 'is too long'),
    ('a\u2028b', '--workdir=a?b has control characters'),
])
def test_others_are_refused(text, words):
  with pytest.raises(UserError) as refused:
    paths.local(text, '--workdir')
  assert words in str(refused.value)
  assert str(refused.value).endswith('.') and '\n' not in str(refused.value)
