"""State dicts of torchvision and timm give the logits that they give there."""
import numpy as np
import pytest

from configs.process.errors import UserError
from resnet.weights import presets, safetensors_file, torch_names
from tests.resnet import imported_logits, numpy_resnet

_COUNTS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
_RNG = np.random.default_rng(0)
# ImageNet's, as torchvision documents them for images of 0 to 1.
_MEAN = np.array([0.485, 0.456, 0.406])
_STDDEV = np.array([0.229, 0.224, 0.225])


def _standardized(side):
  """The images as torchvision's networks take them, [b, c, h, w]."""
  x = (imported_logits.images(side) / 255 - _MEAN) / _STDDEV
  return x.transpose(0, 3, 1, 2)


def _write(path, state):
  if path.suffix == '.npz':
    np.savez(path, **state)
  else:
    floats = {n: v for n, v in state.items() if v.dtype == np.float32}
    path.write_bytes(b''.join(safetensors_file.parts(floats, {})))


@pytest.mark.parametrize('end', ['npz', 'safetensors'])
@pytest.mark.parametrize('depth, state, model', [
    (18, {}, {}), (50, {}, {}),
    (50, {'deep': True, 'pools': True}, {'stem': 'deep', 'shortcut': 'D'}),
    (50, {'reduction': 4}, {'squeeze_excite': 4}),
    (50, {'groups': 4, 'inner': 2}, {'groups': 4, 'inner_width': 2}),
])
def test_logits_are_those_of_the_definition(tmp_path, depth, state, model, end):
  """Sides of 40 are 5 pixels in the third stage: borders count."""
  weights = numpy_resnet.random_state(
      np.random.default_rng(0), _COUNTS[depth], depth >= 50, **state)
  path = tmp_path / f'weights.{end}'
  _write(path, weights)
  found, read = imported_logits.of(
      path, imported_logits.config(depth=depth, width=8, **model), 40, 5)
  imported_logits.assert_equal(
      found, numpy_resnet.forward(weights, _standardized(40)))
  assert read.source == f'{path} (ResNet-{depth} of torchvision or timm)'
  assert read.made_new == ()


def test_images_are_standardized_as_torchvision_does_it():
  np.testing.assert_allclose(presets.TORCHVISION.mean, 255 * _MEAN, rtol=1e-6)
  np.testing.assert_allclose(presets.TORCHVISION.stddev, 255 * _STDDEV,
                             rtol=1e-6)


@pytest.mark.parametrize('model, flags', [
    ({'version': 'v1'}, '--config.model.version=v1.5'),
    ({'batch_norm_epsilon': 1e-3}, '--config.model.batch_norm_epsilon=1e-05'),
    ({'shortcut': 'D'}, '--config.model.shortcut=B'),
    ({'blur_pool': True}, '--config.model.blur_pool=False'),
    ({'depth': 101, 'stem': 'deep'},
     '--config.model.depth=50 --config.model.stem=imagenet'),
])
def test_what_names_and_shapes_do_not_show_must_agree(tmp_path, model, flags):
  path = tmp_path / 'weights.npz'
  _write(path, numpy_resnet.random_state(_RNG, _COUNTS[50], True))
  with pytest.raises(UserError, match=f'give {flags}, or other weights'):
    imported_logits.fit(
        path, imported_logits.config(**{'width': 8, **model}), 40, 5)


def test_basic_blocks_have_no_version(tmp_path):
  path = tmp_path / 'weights.npz'
  _write(path, numpy_resnet.random_state(_RNG, _COUNTS[18], False))
  imported_logits.fit(
      path, imported_logits.config(depth=18, width=8, version='v1'), 40, 5)


def test_a_classifier_may_be_missing(tmp_path):
  path = tmp_path / 'weights.npz'
  state = numpy_resnet.random_state(_RNG, _COUNTS[18], False)
  _write(path, {n: v for n, v in state.items() if not n.startswith('fc.')})
  read = imported_logits.fit(
      path, imported_logits.config(depth=18, width=8), 40, 5)
  assert read.made_new == ('logits/kernel', 'logits/bias')


def test_a_depth_that_does_not_exist_is_named(tmp_path):
  path = tmp_path / 'weights.npz'
  _write(path, numpy_resnet.random_state(_RNG, (2, 2, 2, 2), True))
  with pytest.raises(UserError, match=r'\(2, 2, 2, 2\) bottleneck blocks'):
    imported_logits.fit(path, imported_logits.config(width=8), 40, 5)


def test_unknown_layers_keep_their_names():
  state = numpy_resnet.random_state(_RNG, _COUNTS[18], False)
  state['layer1.0.eca.weight'] = np.ones(3, np.float32)
  assert 'layer1.0.eca.weight' in torch_names.translate(state).values


def _torch_weights(model):
  """Gives a module random statistics, scales and biases, as if trained."""
  torch = pytest.importorskip('torch')
  with torch.no_grad():
    for name, value in model.state_dict().items():
      if name.endswith(('running_mean', 'bias')):
        value.normal_(0, 0.3)
      elif value.dim() == 1:
        value.uniform_(0.5, 1.5)


@pytest.mark.slow
@pytest.mark.parametrize('library, name, model', [
    ('torchvision', 'resnet18', {'depth': 18}),
    ('torchvision', 'resnet34', {'depth': 34}),
    ('torchvision', 'resnet50', {}),
    ('torchvision', 'resnet101', {'depth': 101}),
    ('torchvision', 'resnet152', {'depth': 152}),
    ('torchvision', 'resnext50_32x4d', {'groups': 32, 'inner_width': 2}),
    ('torchvision', 'wide_resnet50_2', {'inner_width': 2}),
    ('timm', 'resnet50d', {'stem': 'deep', 'shortcut': 'D'}),
    ('timm', 'seresnet50', {'squeeze_excite': 16}),
])
def test_logits_are_those_of_the_library(tmp_path, library, name, model):
  torch = pytest.importorskip('torch')
  module = pytest.importorskip(library)
  torch.manual_seed(0)
  theirs = (module.models.get_model(name) if library == 'torchvision'
            else module.create_model(name)).eval()
  _torch_weights(theirs)
  with torch.no_grad():
    expected = theirs(torch.tensor(
        _standardized(72), dtype=torch.float32)).numpy()
  path = tmp_path / f'{name}.pth'
  torch.save({'state_dict': {f'module.{key}': value for key, value
                             in theirs.state_dict().items()}}, path)
  found, _ = imported_logits.of(
      path, imported_logits.config(**model), 72, 1000)
  imported_logits.assert_equal(found, expected)
