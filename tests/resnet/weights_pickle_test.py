"""Files of torch.save are read as tensors alone, or refused in a sentence."""
import argparse
import sys
import zipfile

import numpy as np
import pytest

from configs.process.errors import UserError
from resnet.weights import files, torch_file
from tests.resnet import numpy_resnet


def _state():
  torch = pytest.importorskip('torch')
  state = numpy_resnet.random_state(
      np.random.default_rng(0), (2, 2, 2, 2), False)
  return torch, {name: torch.from_numpy(np.array(value))
                 for name, value in state.items()}


def test_torch_is_asked_for(tmp_path, monkeypatch):
  """The head of a zip of torch.save, without torch."""
  with zipfile.ZipFile(tmp_path / 'w.pth', 'w') as archive:
    archive.writestr('w/data.pkl', b'')
  monkeypatch.setitem(sys.modules, 'torch', None)
  with pytest.raises(UserError, match='not installed here: run `pip install '
                     'torch`, or convert it'):
    files.read(tmp_path / 'w.pth')


@pytest.mark.parametrize('state, expected', [
    ({'a': 1, 'b': 2}, {'a', 'b'}),
    ({'module.a': 1, 'module.b': 2}, {'a', 'b'}),
    ({'module._orig_mod.a': 1}, {'a'}),
    ({'model.a': 1, 'criterion.b': 2}, {'model.a', 'criterion.b'}),
    ({}, set()),
])
def test_prefixes_of_wrappers_are_taken_off(state, expected):
  assert torch_file.without_prefix(state).keys() == expected


@pytest.mark.parametrize('inside', [
    None, 'state_dict', 'model', 'model_state_dict'])
@pytest.mark.parametrize('zipped', [True, False])
def test_state_dicts_are_found(tmp_path, inside, zipped):
  torch, state = _state()
  torch.save({inside: state, 'epoch': 7} if inside else state,
             tmp_path / 'w.pth', _use_new_zipfile_serialization=zipped)
  values = files.read(tmp_path / 'w.pth').values
  np.testing.assert_array_equal(
      values['logits/kernel'], state['fc.weight'].numpy().T)


def test_the_average_is_preferred(tmp_path):
  torch, state = _state()
  other = {name: 0 * value for name, value in state.items()}
  torch.save({'state_dict': other, 'state_dict_ema': state}, tmp_path / 'w.pth')
  assert files.read(tmp_path / 'w.pth').values['logits/bias'].any()


def test_half_precision_becomes_float32(tmp_path):
  torch, state = _state()
  torch.save({name: value.to(torch.bfloat16) if value.is_floating_point()
              else value for name, value in state.items()}, tmp_path / 'w.bin')
  values = files.read(tmp_path / 'w.bin').values
  assert all(value.dtype == np.float32 for value in values.values())


def test_more_than_tensors_is_refused(tmp_path):
  torch, state = _state()
  torch.save({'state_dict': state, 'args': argparse.Namespace(lr=1)},
             tmp_path / 'w.pth')
  with pytest.raises(UserError, match='an object of argparse.Namespace, and '
                     'only tensors are loaded'):
    files.read(tmp_path / 'w.pth')
  for other in ([1, 2], {'epoch': 3}, {'a': {'b': 1}}, torch.ones(2)):
    torch.save(other, tmp_path / 'w.pth')
    with pytest.raises(UserError, match='holds no state dict'):
      files.read(tmp_path / 'w.pth')


@pytest.mark.parametrize('zipped', [True, False])
def test_truncated_files_are_refused(tmp_path, zipped):
  torch, state = _state()
  path = tmp_path / 'w.pth'
  torch.save(state, path, _use_new_zipfile_serialization=zipped)
  content = path.read_bytes()
  for kept in (3, 20, 100, len(content) // 2, len(content) - 1):
    path.write_bytes(content[:kept])
    with pytest.raises(UserError, match='cannot be read as weights|not a file '
                       'of weights|a pickle that torch.save has not written'):
      files.read(path)
