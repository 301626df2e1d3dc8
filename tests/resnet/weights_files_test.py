"""Files of weights are read or refused in one sentence; nothing is executed."""
import hashlib
import io
import json
import os
import pathlib
import pickle
import struct
import zipfile

import h5py
import numpy as np
import pytest

from configs.process.errors import TryAgain, UserError
from resnet.weights import files, npz_file, safetensors_file, source, written
from resnet.weights.unreadable import Unreadable

_VALUES = {
    'stem_conv/kernel': np.arange(108, dtype=np.float32).reshape(3, 3, 3, 4),
    'stem_bn/moving_mean': np.array([1, -2, 0.1, 1e-30], np.float32),
    'logits/kernel': np.ones((4, 2), np.float32),
    'logits/bias': np.array([0.5, np.pi], np.float32)}
_SOURCE = source.Source(
    'run r, step 3', _VALUES, mean=np.array([0.1, 2, 3], np.float32),
    stddev=np.array([7, 8, 9.1], np.float32), classes=['Zürich', 'b'],
    network={'name': 'resnet', 'version': 'v1.5', 'batch_norm_epsilon': 1e-5})


def _write_h5(path, prefix='layers'):
  with h5py.File(path, 'w') as file:
    for i, name in enumerate(('stem_conv', 'logits')):
      file[f'{prefix}/conv_{i}/vars/0'] = _VALUES[f'{name}/kernel']
      file[f'{prefix}/conv_{i}/vars'].attrs['name'] = name


def _write_one(path):
  """Writes a file of weights of the kind that the end of its name says."""
  if path.name.endswith('h5'):
    _write_h5(path)
  elif path.suffix == '.keras':
    _write_h5(path.with_suffix('.h5'))
    with zipfile.ZipFile(path, 'w') as archive:
      archive.writestr('config.json', '{}')
      archive.write(path.with_suffix('.h5'), 'model.weights.h5')
  else:
    written.write(path, _SOURCE)


@pytest.mark.parametrize('end', ['npz', 'safetensors'])
def test_what_is_written_is_read_bit_for_bit(tmp_path, end):
  path = tmp_path / f'w.{end}'
  written.write(path, _SOURCE)
  read = files.read(path)
  assert read.values.keys() == _VALUES.keys()
  for name, value in _VALUES.items():
    assert read.values[name].tobytes() == value.tobytes()
    assert read.values[name].dtype == np.float32
  assert read.mean is not None and read.stddev is not None
  assert read.mean.tolist() == _SOURCE.mean.tolist()
  assert read.stddev.tolist() == _SOURCE.stddev.tolist()
  assert (read.classes, read.network) == (_SOURCE.classes, _SOURCE.network)
  assert read.digest == hashlib.sha256(path.read_bytes()).hexdigest()
  assert read.name == f'{path} (weights of this project)'
  assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_what_is_not_known_is_not_written(tmp_path):
  written.write(tmp_path / 'w.npz', source.Source('x', _VALUES))
  read = files.read(tmp_path / 'w.npz')
  assert (read.mean, read.stddev, read.classes) == (None, None, None)


def test_only_two_kinds_are_written(tmp_path):
  with pytest.raises(UserError, match='ends with .npz or .safetensors'):
    written.write(tmp_path / 'w.h5', _SOURCE)
  with pytest.raises(UserError, match='free some space or fix'):
    written.write(tmp_path / 'no' / 'w.npz', _SOURCE)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('end', ['npz', 'safetensors', 'keras', 'h5',
                                 'weights.h5'])
def test_every_kind_is_told_by_its_content(tmp_path, end):
  path = tmp_path / f'w.{end}'
  _write_one(path)
  os.rename(path, tmp_path / 'anything.bin')
  kernel = files.read(tmp_path / 'anything.bin').values['stem_conv/kernel']
  np.testing.assert_array_equal(kernel, _VALUES['stem_conv/kernel'])


@pytest.mark.parametrize('end', ['npz', 'safetensors', 'keras', 'h5',
                                 'weights.h5'])
def test_truncated_files_are_refused(tmp_path, end):
  path = tmp_path / f'w.{end}'
  _write_one(path)
  content = path.read_bytes()
  for kept in (0, 1, 4, 9, 15, 40, len(content) // 2, len(content) - 1):
    path.write_bytes(content[:kept])
    with pytest.raises(UserError, match='cannot be read as weights|is not a '
                       'file of weights') as caught:
      files.read(path)
    assert str(path) in str(caught.value)


def test_flipped_bits_in_a_zip_are_noticed(tmp_path):
  path = tmp_path / 'w.npz'
  _write_one(path)
  content = bytearray(path.read_bytes())
  at = content.index(_VALUES['stem_conv/kernel'].tobytes()) + 200
  content[at] ^= 1
  path.write_bytes(content)
  with pytest.raises(UserError, match='the bytes of stem_conv/kernel are '
                     'damaged'):
    files.read(path)


class _Bomb:
  """Writes a file when it is unpickled."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return pathlib.Path.touch, (self.path,)


def test_no_pickle_is_loaded(tmp_path):
  mark = tmp_path / 'executed'
  np.savez(tmp_path / 'w.npz', **{
      'stem_conv/kernel': np.array([_Bomb(mark)], object)})
  with pytest.raises(UserError, match='stem_conv/kernel is not an array of'):
    files.read(tmp_path / 'w.npz')
  for protocol in (2, 4):
    (tmp_path / 'w.pth').write_bytes(pickle.dumps(_Bomb(mark), protocol))
    with pytest.raises(UserError, match='a pickle that torch.save has not'):
      files.read(tmp_path / 'w.pth')
  assert not mark.exists()


def test_what_is_no_file_of_weights(tmp_path):
  with pytest.raises(UserError, match='not a regular file'):
    files.read(tmp_path)
  with pytest.raises(UserError, match='No such file'):
    files.read(tmp_path / 'no.npz')
  (tmp_path / 'text').write_text('these are not the weights you look for')
  with pytest.raises(UserError, match='is not a file of weights: give'):
    files.read(tmp_path / 'text')
  with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as archive:
    archive.writestr('readme.txt', 'hello')
  with pytest.raises(UserError, match='is a zip, but not one of weights'):
    files.read(tmp_path / 'a.zip')
  os.mkfifo(tmp_path / 'pipe')
  with pytest.raises(UserError, match='not a regular file'):
    files.read(tmp_path / 'pipe')


def test_an_error_of_the_disk_may_pass(tmp_path, monkeypatch):
  _write_one(tmp_path / 'w.npz')

  def failing(*_):
    raise OSError(5, 'Input/output error')

  with monkeypatch.context() as patch, pytest.raises(
      TryAgain, match='Input/output error'):
    patch.setattr(os, 'stat', failing)
    files.read(tmp_path / 'w.npz')


def test_another_network_is_named_by_its_variables(tmp_path):
  np.savez(tmp_path / 'vgg.npz', **{
      f'features.{i}.weight': np.ones(2, np.float32) for i in range(9)})
  with pytest.raises(UserError, match='holds weights of an unknown network '
                     r'\(its variables are features.0.weight, features.1.w'):
    files.read(tmp_path / 'vgg.npz')


def test_an_hdf5_file_reads_no_other_file(tmp_path):
  _write_h5(tmp_path / 'secret.h5')
  with h5py.File(tmp_path / 'w.h5', 'w') as file:
    file['a/b/kernel'] = h5py.ExternalLink(
        tmp_path / 'secret.h5', '/layers/conv_0/vars/0')
    file['stem/stem_conv/kernel'] = np.ones(3)
  assert files.read(tmp_path / 'w.h5').values.keys() == {'stem_conv/kernel'}
  layout = h5py.VirtualLayout((2,), np.float32)
  layout[:] = h5py.VirtualSource(tmp_path / 'secret.h5', 'x', (2,))
  with h5py.File(tmp_path / 'v.h5', 'w') as file:
    file.create_virtual_dataset('stem/stem_conv/kernel', layout)
  with pytest.raises(UserError, match='stem/stem_conv/kernel is in another'):
    files.read(tmp_path / 'v.h5')


def _safetensors(header, data):
  text = json.dumps(header).encode()
  return struct.pack('<Q', len(text)) + text + data


@pytest.mark.parametrize('dtype, data, expected', [
    ('F32', struct.pack('<2f', 1.5, -2), [1.5, -2]),
    ('F64', struct.pack('<2d', 1.5, -2), [1.5, -2]),
    ('F16', struct.pack('<2e', 1.5, -2), [1.5, -2]),
    # The upper halves of the float32 numbers 1.5 (3fc00000) and -2 (c0000000).
    ('BF16', bytes.fromhex('c03f00c0'), [1.5, -2]),
    ('I64', struct.pack('<2q', 3, -4), [3, -4]),
])
def test_types_of_safetensors(dtype, data, expected):
  content = _safetensors({
      '__metadata__': {'format': 'pt'},
      'a': {'dtype': dtype, 'shape': [1, 2], 'data_offsets': [0, len(data)]}},
                         data)
  arrays, metadata = safetensors_file.read(content)
  assert arrays['a'].tolist() == [expected]
  assert metadata == {'format': 'pt'}


@pytest.mark.parametrize('entry, why', [
    ({'dtype': 'F8_E4M3', 'shape': [4]}, 'a is of type F8_E4M3'),
    ({'dtype': 'F32', 'shape': [2]}, 'shape that does not fit'),
    ({'dtype': 'F32', 'shape': [1], 'data_offsets': [0, 5]}, 'ends before a'),
    ({'dtype': 'F32', 'shape': [-1]}, 'shape that does not fit'),
    ({'dtype': 'F32', 'shape': [None]}, 'header is malformed'),
    ({'dtype': 'F32'}, 'header is malformed'),
    (7, 'header is malformed'),
])
def test_malformed_safetensors(entry, why):
  if isinstance(entry, dict):
    entry = {'data_offsets': [0, 4], **entry}
  with pytest.raises(Unreadable, match=why):
    safetensors_file.read(_safetensors({'a': entry}, b'abcd'))


def test_safetensors_as_their_own_package_reads_and_writes_them(tmp_path):
  numpy = pytest.importorskip('safetensors.numpy')
  written.write(tmp_path / 'ours.safetensors', _SOURCE)
  theirs = numpy.load_file(tmp_path / 'ours.safetensors')
  for name, value in _VALUES.items():
    np.testing.assert_array_equal(theirs[name], value)
  numpy.save_file(_VALUES, tmp_path / 'theirs.safetensors')
  read = files.read(tmp_path / 'theirs.safetensors')
  for name, value in _VALUES.items():
    np.testing.assert_array_equal(read.values[name], value)


@pytest.mark.parametrize('text', ['[]', '{', '7'])
def test_malformed_metadata_of_npz(text):
  file = io.BytesIO()
  np.savez(file, __metadata__=np.array(text))
  with pytest.raises(Unreadable, match='__metadata__ is malformed'):
    npz_file.read(file.getvalue())


@pytest.mark.parametrize('known', ['[]', '{"network": 7}', '{'])
def test_malformed_metadata_of_ours(known):
  with pytest.raises(Unreadable, match='its text resnet is malformed'):
    written.translate(_VALUES, {'resnet': known})
