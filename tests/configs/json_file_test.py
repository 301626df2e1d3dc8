"""Whatever stands in a JSON file, reading it ends well or with a sentence."""
import os

import pytest

from configs.process import json_file
from configs.process.errors import TryAgain, UserError

# Of any file: not UTF-8, zeros, cut, of another kind, nested without end.
DAMAGES = (
    b'', b'\0', b'\0' * 4096, b'\xff\xfe', b'{"seed": \xff}', b'{', b'{"a": 1',
    b'{"a": 1}}', b'5', b'-1', b'null', b'true', b'"text"', b'[]', b'[1, 2]',
    b'nan', b'1e400', b'[' * 100_000, b'{"a":' * 100_000, b'1' * 10_000,
    b'\xef\xbb\xbf{}')


def shown(value):
  """Returns a short name of a value, for the names of tests."""
  return repr(value)[:40]


def test_a_json_object_is_read(tmp_path):
  path = tmp_path / 'a.json'
  path.write_text('{"a": [1, "\u00e9"]}', encoding='utf-8')
  assert json_file.read(path) == {'a': [1, '\u00e9']}
  assert json_file.read(tmp_path / 'none.json') is None


@pytest.mark.parametrize('content', DAMAGES, ids=shown)
def test_anything_else_is_damaged(tmp_path, content):
  path = tmp_path / 'a.json'
  path.write_bytes(content)
  with pytest.raises(json_file.Damaged) as raised:
    json_file.read(path)
  assert str(raised.value).startswith(f'{path} is damaged (')
  assert str(raised.value).endswith(
      '): restore it from a backup, or start over in another --workdir.')
  assert len(str(raised.value)) < len(str(path)) + 300


def test_what_is_not_a_file_is_named(tmp_path):
  os.mkfifo(tmp_path / 'pipe')  # Reading it would never end.
  (tmp_path / 'file').touch()
  (tmp_path / 'loop').symlink_to('loop')
  for path, reason in ((tmp_path, 'not a regular file'),
                       (tmp_path / 'pipe', 'not a regular file'),
                       (tmp_path / 'file' / 'a.json', 'Not a directory'),
                       (tmp_path / 'loop', 'Too many levels of symbolic')):
    with pytest.raises(UserError, match=reason):
      json_file.read(path)


def test_a_file_server_that_fails_is_not_damage(tmp_path, monkeypatch):
  def fail(_):
    raise OSError(5, 'Input/output error')
  monkeypatch.setattr(os, 'stat', fail)
  with pytest.raises(TryAgain, match='cannot be read now .Input/output error.'):
    json_file.read(tmp_path / 'a.json')


@pytest.mark.parametrize('value, number, whole', [
    (0, True, True), (7, True, True), (-1, True, False), (0.5, True, False),
    (1.0, True, False), (2**63, True, False), (10**400, False, False),
    (float('nan'), False, False), (float('inf'), False, False),
    (True, False, False), ('1', False, False), (None, False, False),
    ([1], False, False), ({}, False, False)])
def test_numbers_are_numbers(value, number, whole):
  assert json_file.is_number(value) is number
  assert json_file.is_whole(value) is whole
