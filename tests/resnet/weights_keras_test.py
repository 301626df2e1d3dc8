"""keras.applications' ResNets give the logits that they give there."""
import h5py
import keras
import numpy as np
import pytest

from configs.process.errors import UserError
from resnet import network
from resnet.weights import imported, keras_file, keras_names, presets, source
from resnet.weights.unreadable import Foreign, Unreadable
from tests.resnet import imported_logits

_SIDE, _CLASSES = 64, 7
_EPSILON = 1.001e-5  # In keras/src/applications/resnet.py.


@pytest.fixture(scope='module', params=[
    50, *(pytest.param(depth, marks=pytest.mark.slow) for depth in (101, 152))])
def theirs(request, tmp_path_factory):
  """(depth, folder of its files, logits) of a network of keras.applications.

  Weights, biases and statistics are random.
  """
  keras.utils.set_random_seed(0)
  rng = np.random.default_rng(0)
  model = getattr(keras.applications, f'ResNet{request.param}')(
      weights=None, input_shape=(_SIDE, _SIDE, 3), classes=_CLASSES,
      classifier_activation=None)
  for variable in model.variables:
    if variable.path.endswith(('bias', 'beta', 'moving_mean')):
      variable.assign(rng.normal(size=variable.shape) * 0.3)
    elif len(variable.shape) == 1:
      variable.assign(rng.uniform(0.5, 1.5, variable.shape))
  folder = tmp_path_factory.mktemp('keras')
  model.save_weights(folder / 'r.weights.h5')
  model.save(folder / 'r.keras')
  model.save(folder / 'r.h5')
  logits = model(keras.applications.resnet.preprocess_input(
      imported_logits.images(_SIDE)), training=False)
  return request.param, folder, np.asarray(logits)


def _config(**model):
  return imported_logits.config(**{
      'version': 'v1', 'batch_norm_epsilon': _EPSILON, **model})


@pytest.mark.parametrize('end', ['weights.h5', 'keras', 'h5'])
def test_logits_are_those_of_keras(theirs, end):
  depth, folder, expected = theirs
  path = folder / f'r.{end}'
  found, read = imported_logits.of(
      path, _config(depth=depth), _SIDE, _CLASSES)
  imported_logits.assert_equal(found, expected)
  assert read.source == f'{path} (ResNet{depth} of keras.applications)'
  assert read.made_new == ()


def test_a_classifier_of_other_classes_is_made_new(theirs):
  depth, folder, _ = theirs
  read = imported_logits.fit(
      folder / 'r.weights.h5', _config(depth=depth), _SIDE, _CLASSES + 1)
  assert read.made_new == ('logits/kernel', 'logits/bias')


def test_what_to_set_is_said(theirs):
  depth, folder, _ = theirs
  with pytest.raises(UserError, match=(
      'give --config.model.version=v1 '
      '--config.model.batch_norm_epsilon=1.001e-05, or other weights')):
    imported_logits.fit(folder / 'r.keras', imported_logits.config(depth=depth),
                        _SIDE, _CLASSES)


def _arrays():
  """Arrays of the names of a ResNet50, a single number each."""
  arrays = {'conv1_conv/kernel': np.zeros((7, 7, 3, 1), np.float32)}
  for stage, count in zip((2, 3, 4, 5), (3, 4, 6, 3)):
    for index in range(1, count + 1):
      arrays[f'conv{stage}_block{index}_1_conv/kernel'] = np.zeros(1)
  return arrays


def test_a_bias_moves_into_the_mean():
  arrays = _arrays() | {
      f'conv3_block1_0_{name}': np.array([number], np.float32)
      for name, number in (('conv/bias', 2), ('bn/moving_mean', 5))}
  values = keras_names.translate(arrays).values
  assert values['stage2_block1_shortcut_bn/moving_mean'] == [3]
  assert 'stage2_block1_shortcut_conv/bias' not in values


def test_channels_are_reversed_once():
  arrays = _arrays()
  arrays['conv1_conv/kernel'] = np.arange(3.0).reshape(1, 1, 3, 1)
  read = keras_names.translate(arrays)
  assert read.values['stem_conv/kernel'].ravel().tolist() == [2, 1, 0]
  # keras/src/applications/imagenet_utils.py: blue, green, red.
  np.testing.assert_array_equal(
      read.mean, np.array([103.939, 116.779, 123.68], np.float32)[::-1])
  assert read.stddev.tolist() == [1, 1, 1]
  assert presets.CAFFE.mean is read.mean


@pytest.mark.parametrize('name', ['predictions', 'probs', 'dense_3'])
def test_the_only_dense_layer_is_the_classifier(name):
  arrays = _arrays() | {f'{name}/kernel': np.zeros((4, 2)),
                        f'{name}/bias': np.zeros(2)}
  values = keras_names.translate(arrays).values
  assert values['logits/kernel'].shape == (4, 2)
  assert values['logits/bias'].shape == (2,)


def test_v2_cannot_be_expressed():
  with keras.StatelessScope(initialize_variables=False):
    model = keras.applications.ResNet50V2(
        weights=None, include_top=False, input_shape=(32, 32, 3))
  with pytest.raises(Foreign, match='ResNetV2 of keras.applications, which no '
                     'config.model can express'):
    keras_names.translate({v.path: np.zeros(1) for v in model.variables})


def test_another_depth_is_named():
  arrays = _arrays()
  del arrays['conv5_block3_1_conv/kernel']
  with pytest.raises(Foreign, match=r'\(3, 4, 6, 2\) blocks'):
    keras_names.translate(arrays)


def test_names_of_older_files(tmp_path):
  """As tf.keras wrote them: no group of weights above, ':0' at the end."""
  path = tmp_path / 'old.h5'
  with h5py.File(path, 'w') as file:
    file['conv1_conv/conv1_conv/kernel:0'] = np.ones((7, 7, 3, 64))
    file['conv1_bn/conv1_bn/gamma:0'] = np.ones(64)
    file['optimizer_weights/adam/kernel:0'] = np.ones(3)
  assert {name: value.shape for name, value in keras_file.read(
      path.read_bytes()).items()} == {
          'conv1_conv/kernel': (7, 7, 3, 64), 'conv1_bn/gamma': (64,)}


def test_a_network_inside_of_another_is_found(tmp_path):
  """As after transfer learning: a base, dropout, another classifier."""
  inner = keras.Sequential([
      keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name='conv1_conv'),
      keras.layers.BatchNormalization(name='conv1_bn'),
      keras.layers.GlobalAveragePooling2D()], name='resnet50')
  image = keras.Input((8, 8, 3))
  outer = keras.Model(image, keras.layers.Dense(2, name='mine')(
      keras.layers.Dropout(0.5)(inner(image))))
  outer.compile('adam', 'mse')
  outer.fit(np.zeros((1, 8, 8, 3)), np.zeros((1, 2)), verbose=0)
  expected = {
      'conv1_conv/kernel', 'conv1_conv/bias', 'mine/kernel', 'mine/bias',
      *(f'conv1_bn/{part}' for part in (
          'gamma', 'beta', 'moving_mean', 'moving_variance'))}
  for end in ('weights.h5', 'h5'):
    path = tmp_path / f'outer.{end}'
    (outer.save_weights if end == 'weights.h5' else outer.save)(path)
    assert keras_file.read(path.read_bytes()).keys() == expected


def test_layers_without_names_are_refused(tmp_path):
  path = tmp_path / 'old.weights.h5'
  with h5py.File(path, 'w') as file:
    file['layers/conv2d/vars/0'] = np.ones(3)
  with pytest.raises(Unreadable, match='does not name its layers'):
    keras_file.read(path.read_bytes())


@pytest.mark.parametrize('end', ['weights.h5', 'keras'])
def test_our_own_networks_in_files_of_keras(tmp_path, end):
  settings = imported_logits.config(depth=18, width=4, squeeze_excite=4)
  model = network.build_model(settings, (32, 32, 3), 3)
  path = tmp_path / f'own.{end}'
  (model.save_weights if end == 'weights.h5' else model.save)(path)
  read = imported.load(str(path), model, settings, ['a', 'b', 'c'])
  for variable in model.variables:
    np.testing.assert_array_equal(read.values[variable.path], variable.numpy())
  assert isinstance(imported.read(str(path)), source.Source)
  assert (read.mean, read.stddev) == (None, None)
