"""A network of Keras's own layers computes what the trained one does."""
import keras
import numpy as np
import pytest

from configs import schema
from resnet import network
from resnet.exporting import plain_layers, plain_network
from resnet.models import classics, tutorials

_SMALL = {'depth': 8, 'width': 4}
_IMAGENET = {'family': 'imagenet', 'depth': 50, 'width': 8}
_MODELS = {
    'v1': _SMALL,
    'v2 subsamples': {**_SMALL, 'version': 'v2', 'shortcut': 'A'},
    'bottlenecks': {'depth': 11, 'width': 4, 'version': 'v2',
                    'block': 'bottleneck'},
    'plain': {**_SMALL, 'shortcut': 'none'},
    'imagenet': {**_IMAGENET, 'stem': 'imagenet', 'version': 'v1.5'},
    'ResNet-D with all': {
        **_IMAGENET, 'stem': 'deep', 'shortcut': 'D', 'blur_pool': True,
        'squeeze_excite': 16, 'stochastic_depth': 0.2, 'dropout': 0.3},
    'ResNeXt': {**_IMAGENET, 'groups': 4, 'inner_width': 2},
    'synchronized': {**_SMALL, 'sync_batch_norm': True},
    **{name: {'name': name} for name in classics.NAMES},
    **{name: {'name': name, 'depth': 11 if name == 'keras_v2' else 8}
       for name in tutorials.NAMES},
}


def _randomize(model):
  """Gives every variable random values, so that nothing cancels out."""
  rng = np.random.default_rng(0)
  for variable in model.variables:
    spread = rng.uniform(0.5, 1.5, variable.shape)
    if variable.path.endswith(('gamma', 'variance')):
      variable.assign(spread)
    elif len(variable.shape) == 1:
      variable.assign(spread - 1)
    else:
      variable.assign(variable * spread)
  return {variable.path: np.array(variable) for variable in model.variables}


def _images(side, channels=3, count=3):
  return np.random.default_rng(1).normal(
      size=(count, side, side, channels)).astype(np.float32)


def _evaluated(model, images):
  """Returns the logits of the trained network, as evaluation calls it."""
  inputs = {'image': images, 'position': np.zeros(len(images), np.int64)}
  return np.array(model({name: inputs[name] for name in model.input},
                        training=False))


@pytest.mark.parametrize('fields', _MODELS.values(), ids=_MODELS)
def test_logits_are_those_of_the_network(fields):
  side = 40 if fields.get('family') == 'imagenet' else 32
  model = network.build_model(
      schema.Config(model=schema.Model(**fields)), (side, side, 3), 5,
      deterministic=True)  # Max-pooling of its own.
  values, images = _randomize(model), _images(side)
  plain = plain_network.build(model, values, (side, side, 3))
  expected = _evaluated(model, images)
  assert np.ptp(expected) > 0
  np.testing.assert_allclose(
      plain(images), expected, atol=1e-5 * np.ptp(expected), rtol=0)
  foreign = [type(layer) for layer in plain.operations
             if not type(layer).__module__.startswith('keras.')]
  assert not foreign


def test_batch_norm_becomes_a_part_of_convolutions():
  """v1 has each batch norm after a convolution; v2 one before it."""
  def norms(**fields):
    model = network.build_model(schema.Config(model=schema.Model(
        **_SMALL, **fields)), (32, 32, 3), 5)
    plain = plain_network.build(model, _randomize(model), (32, 32, 3))
    return [layer.name for layer in plain.layers
            if isinstance(layer, keras.layers.BatchNormalization)]

  assert not norms()
  # The sum of a block has no convolution of its own: each block's first batch
  # norm, but the very first one's, and the final one.
  assert norms(version='v2') == [
      'stage2_block1_bn1', 'stage3_block1_bn1', 'final_bn']


def test_a_folded_convolution_by_hand():
  """Kernel 2, bias 1; gamma 3, beta 5, mean 7, variance 15, epsilon 1.

  (2 x + 1 - 7) * 3 / 4 + 5 = 1.5 x + 0.5.
  """
  image = keras.Input((1, 1, 1), name='image')
  x = keras.layers.Conv2D(1, 1, name='conv')(image)
  norm = keras.layers.BatchNormalization(epsilon=1.0, name='norm')
  model = keras.Model({'image': image}, norm(x))
  values = {'conv/kernel': 2, 'conv/bias': 1, 'norm/gamma': 3, 'norm/beta': 5,
            'norm/moving_mean': 7, 'norm/moving_variance': 15}
  plain = plain_network.build(model, {
      path: np.full((1, 1, 1, 1) if path.endswith('kernel') else (1,), value,
                    np.float32) for path, value in values.items()}, (1, 1, 1))
  conv, = [layer for layer in plain.layers if layer.weights]
  assert [w.numpy().item() for w in conv.weights] == [1.5, 0.5]


def test_a_convolution_that_others_use_too_is_not_folded():
  image = keras.Input((4, 4, 3), name='image')
  x = keras.layers.Conv2D(3, 3, padding='same', name='conv')(image)
  y = keras.layers.BatchNormalization(name='norm')(x)
  model = keras.Model({'image': image}, keras.layers.Add(name='add')([x, y]))
  values, images = _randomize(model), _images(4)
  np.testing.assert_allclose(
      plain_network.build(model, values, (4, 4, 3))(images),
      model({'image': images}), atol=1e-5)


class _Own(keras.layers.Layer):

  def call(self, x):
    return 2 * x


def test_a_layer_that_keras_does_not_have_is_named():
  image = keras.Input((4, 4, 3), name='image')
  model = keras.Model({'image': image}, _Own(name='mine')(image))
  with pytest.raises(plain_layers.NotPlain, match='mine is a _Own'):
    plain_network.build(model, {}, (4, 4, 3))


def test_a_layer_that_is_used_twice_is_refused():
  image = keras.Input((4, 4, 3), name='image')
  twice = keras.layers.Conv2D(3, 3, padding='same', name='twice')
  model = keras.Model({'image': image}, twice(twice(image)))
  with pytest.raises(plain_layers.NotPlain, match='used more than once'):
    plain_network.build(model, _randomize(model), (4, 4, 3))
