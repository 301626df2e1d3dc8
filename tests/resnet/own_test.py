"""A recipe's own network and metrics, without a change to the project."""

import numpy as np
import pytest

from configs import loading
from configs.process.errors import UserError
from resnet import loop
from resnet.execution.options import Options
from resnet.inference import restored
from resnet.models import own
from resnet.run import checkpoint_file, summaries
from tests.resnet import strategies

_RECIPE = '''
from configs import schema

def get_config():
  return schema.Config(model=schema.Model(name='own', width=8), train_steps=20,
                       global_batch=64)

def build(config, image_shape, num_classes):
  import keras
  x = image = keras.Input(image_shape)
  x = keras.layers.Conv2D(config.model.width, 3, use_bias=False)(x)
  x = keras.layers.BatchNormalization()(x)
  x = keras.layers.Flatten()(keras.layers.ReLU()(x))
  return keras.Model(image, keras.layers.Dense(num_classes)(x))

def right(labels, logits):
  import tensorflow as tf
  return tf.argmax(logits, 1, tf.int32) == labels

def label(labels, logits):
  return labels

metrics = {'right': right, 'label': label}
'''
_OPTIONS = Options(eval_every_steps=10, save_every_steps=10, log_every_steps=5)


@pytest.fixture
def recipe(tmp_path):
  """Writes a recipe; returns its path."""
  def write(text=_RECIPE):
    path = tmp_path / 'mine.py'
    path.write_text(text)
    return str(path)
  return write


def _tensors(folder, step=20):
  tensors = checkpoint_file.read(f'{folder}/checkpoints/ckpt-{step}')
  return {name: np.asarray(value).tobytes()
          for name, value in tensors.items() if name != 'identity'}


def test_trains_evaluates_and_resumes_exactly(recipe, tmp_path, capfd):
  config = loading.load(recipe())
  folders = tmp_path / 'whole', tmp_path / 'stopped'
  for folder, stops in zip(folders, ((20,), (10, 20))):
    for stop in stops:
      loop.train_and_evaluate(
          config, strategies.on_cpus(1), folder, _OPTIONS,
          stop_requested=lambda step, stop=stop: step >= stop < 20)

  assert _tensors(folders[0]) == _tensors(folders[1])
  names = {name for name in _tensors(folders[0]) if name.startswith('model/')}
  assert 'model/batch_normalization/moving_mean' in names or any(
      'moving_mean' in name for name in names)
  record = summaries.read(folders[0] / 'metrics.jsonl')[-1]
  assert record['right'] == record['accuracy'] > 0.1
  # The mean of the labels of the 360 test images, counted by hand from the
  # data: 10 classes, about equally many of each.
  from pipelines import sources
  labels = sources.load('digits', 'test').labels.numpy()
  assert record['label'] == pytest.approx(labels.mean(), rel=1e-6)
  assert 'right 0.' in capfd.readouterr().err


def test_the_run_folder_has_the_network(recipe, tmp_path):
  path, folder = recipe(), tmp_path / 'run'
  loop.train_and_evaluate(
      loading.load(path), strategies.on_cpus(1), folder, _OPTIONS)
  recipe('')  # The file is no longer needed.
  trained = restored.restore(folder)
  assert trained.model.count_params() == 9 * 8 + 4 * 8 + 6 * 6 * 8 * 10 + 10


def test_changed_functions_are_another_config(recipe, tmp_path):
  folder = tmp_path / 'run'
  config = loading.load(recipe())
  loop.train_and_evaluate(config, strategies.on_cpus(1), folder, _OPTIONS)
  changed = loading.load(recipe(_RECIPE.replace('ReLU', 'Softmax')))
  with pytest.raises(UserError, match="the recipe's own functions"):
    loop.train_and_evaluate(changed, strategies.on_cpus(1), folder, _OPTIONS)


def test_recipes_without_functions_have_no_code():
  assert {name: loading.load(name).code for name in loading.names()} == {
      name: '' for name in loading.names()}


def test_a_build_of_the_config_alone(recipe):
  config = loading.load(recipe(_RECIPE.replace(
      'config, image_shape, num_classes', 'config').replace(
          'image_shape', '(8, 8, 1)').replace('num_classes', '10')))
  assert own.build(config, (8, 8, 1), 10).output.shape == (None, 10)


@pytest.mark.parametrize('old, new, text', [
    ('  return keras', '  x = keras.layers.Dropout(0.5)(x)\n  return keras',
     'draws random numbers in layer dropout'),
    ('Dense(num_classes)', "Dense(num_classes, kernel_regularizer='l2')",
     'has regularizers'),
    ('Flatten()', 'Flatten(trainable=False)', 'set not to train'),
    ('Dense(num_classes)', 'Dense(7)', 'one row of logits for each of 10'),
    ('keras.Input(image_shape)', 'keras.Input((9, 9, 1))',
     r'takes images of \(9, 9, 1\), but those of the data have \(8, 8, 1\)'),
    ('keras.Model(image,', 'keras.Model([image, keras.Input((2,))],',
     'has several inputs'),
    ('return keras.Model', 'return 3 or keras.Model', 'returns a int'),
    ('  import keras\n', '  import keras\n  1 / 0\n', 'ZeroDivisionError'),
    ('def build', 'def built', 'needs a recipe file with a function build'),
    *(("'right': right", f"'{name}': right", f"the name '{name}', which is "
        'reserved') for name in (
            'loss', 'epoch', 'time', 'compilations', 'learning_rate_stem')),
    ("'right': right", "'right': 3", 'is not a dict of functions'),
])
def test_what_does_not_fit_is_refused(recipe, old, new, text):
  assert old in _RECIPE
  config = loading.load(recipe(_RECIPE.replace(old, new)))
  with pytest.raises(UserError, match=text):
    own.build(config, (8, 8, 1), 10)
    own.metrics(config)


def test_a_metric_that_is_not_finite_is_refused(recipe, tmp_path):
  config = loading.load(recipe(_RECIPE.replace(
      '  return labels\n',
      '  import tensorflow as tf\n'
      '  return tf.math.log(-1.0 - logits[:, 0] ** 2)\n')))
  with pytest.raises(UserError, match='metric label is nan'):
    loop.train_and_evaluate(
        config, strategies.on_cpus(1), tmp_path / 'run', _OPTIONS)


def test_two_replicas_train_the_same(recipe):
  from pipelines import sources
  from tests.resnet import small_runs
  config = loading.load(recipe())
  weights = []
  for replicas in (1, 2):
    model, _, run = small_runs.build(
        config, replicas, sources.load('digits', 'train'))
    run(0, 1, stop=False)
    weights.append(np.concatenate([
        v.numpy().ravel() for v in model.trainable_variables]))
  np.testing.assert_allclose(*weights, atol=1e-2)
