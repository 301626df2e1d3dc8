"""The tutorials' recipes have their settings, and train."""
import ast
import dataclasses
import json
import pathlib
import re
import shlex

import numpy as np
import pytest
import tensorflow as tf

from configs import combinations, loading, schema
from launch.sweep import grid
from pipelines import sources
from resnet import plan
from resnet.optimization import optimizers, schedules
from tests.resnet import small_runs

_RECIPES = [name for name in loading.names() if name.startswith('tutorials/')]
_DATA = {
    'data.name': 'cifar10', 'data.train_split': 'train',
    'data.eval_split': 'test', 'data.mean': (0, 0, 0),
    'data.stddev': (255, 255, 255), 'data.center': 'channel', 'data.pad_to': 0,
    'augment.flip': False, 'augment.shift': 0, 'augment.crop_padding': 0}
_KERAS = {  # Keras's defaults, and Adam.
    'model.batch_norm_momentum': 0.99, 'model.batch_norm_epsilon': 1e-3,
    'optimizer.name': 'adam', 'optimizer.beta_1': 0.9,
    'optimizer.beta_2': 0.999, 'optimizer.epsilon': 1e-7,
    'optimizer.weight_decay': 0, 'schedule.name': 'constant',
    'schedule.peak': 1e-3, 'schedule.warmup_epochs': 0, 'loss': 'softmax',
    'label_smoothing': 0, 'precision': 'float32', 'train_steps': 0}
_SIX = _DATA | _KERAS | {
    'global_batch': 32, 'train_epochs': 5, 'monitor.metric': 'loss'}
_KERAS_RESNET = _DATA | _KERAS | {
    'data.mean': (), 'data.center': 'pixel', 'augment.flip': True,
    'augment.shift': 0.1, 'optimizer.weight_decay': 2e-4,
    'schedule.name': 'step', 'global_batch': 32, 'train_epochs': 200,
    'monitor.metric': 'accuracy', 'monitor.plateau_evals': 0,
    'model.depth': 20}
_FACTS = {
    'cifar100_resnet18': _DATA | _KERAS | {
        'model.name': 'resnet18_cifar100', 'data.name': 'cifar100',
        'schedule.peak': 0.01, 'global_batch': 128, 'train_epochs': 5},
    'mnist_resnet18': _DATA | _KERAS | {
        'model.name': 'resnet18_mnist', 'data.name': 'mnist',
        'data.train_split': 'train[:80%]', 'data.eval_split': 'train[80%:]',
        'data.mean': (0,), 'data.stddev': (255,), 'data.pad_to': 32,
        'global_batch': 64, 'train_epochs': 5},
    'cifar10_keras_resnet_v1': _KERAS_RESNET | {'model.name': 'keras_v1'},
    'cifar10_keras_resnet_v2': _KERAS_RESNET | {'model.name': 'keras_v2'},
    'cifar10_baseline': _SIX | {'model.name': 'baseline'},
    'cifar10_lenet5': _SIX | {'model.name': 'lenet5'},
    'cifar10_alexnet8': _SIX | {'model.name': 'alexnet8'},
    'cifar10_vgg16': _SIX | {'model.name': 'vgg16'},
    'cifar10_inception10': _SIX | {
        'model.name': 'inception10', 'global_batch': 1024},
    'cifar10_resnet18': _SIX | {
        'model.name': 'resnet18_cifar10', 'optimizer.weight_decay': 0.02},
    'cifar10_resnet18_flip': _DATA | _KERAS | {
        'model.name': 'resnet18_flip', 'augment.flip': True,
        'data.mean': (123.675, 116.28, 103.53),
        'data.stddev': (58.395, 57.12, 57.375),
        'global_batch': 256, 'train_epochs': 500},
    'cifar10_degradation': {
        'model.name': 'resnet', 'model.family': 'cifar', 'model.depth': 20,
        'model.version': 'v1', 'model.shortcut': 'none', 'model.width': 16,
        'data.name': 'cifar10', 'optimizer.name': 'sgd',
        'optimizer.momentum': 0.9, 'optimizer.weight_decay': 1e-4,
        'schedule.peak': 0.1, 'global_batch': 128},
}
_MODEL = {f'tutorials/{name}': facts['model.name']
          for name, facts in _FACTS.items()}
_SHALLOW = {'resnet': {'depth': 8}, 'keras_v1': {'depth': 8},
            'keras_v2': {'depth': 11}}


def test_each_recipe_has_its_facts():
  assert _RECIPES == sorted(f'tutorials/{name}' for name in _FACTS)


@pytest.mark.parametrize('recipe', _RECIPES)
def test_settings(recipe):
  config = loading.load(recipe)
  combinations.check(config)
  found = schema.plain_fields(config)
  for path, value in _FACTS[recipe.removeprefix('tutorials/')].items():
    assert found[path] == pytest.approx(value), path


def test_runs_of_recipes_of_one_name_have_folders_of_their_own():
  # configs/cifar10_resnet18.py trains something else.
  _, name, _ = loading.parse(['train', '--config=tutorials/cifar10_resnet18'],
                             loading.flags.FlagValues())
  assert name == 'tutorials/cifar10_resnet18'
  assert loading.run_name('cifar10_resnet18') == 'cifar10_resnet18'
  assert loading.run_name('/tmp/mine.py') == 'mine'


def test_one_command_trains_the_networks_of_the_degradation_experiment():
  path = pathlib.Path(loading.__file__).with_name('tutorials')
  text = ast.get_docstring(ast.parse(
      (path / 'cifar10_degradation.py').read_text('utf-8')))
  command, = re.findall(r'python -m launch\.sweep (.*)',
                        text.replace('\\\n', ' '))
  ours, theirs = (shlex.split(part) for part in command.split(' -- '))
  recipe = ours.pop(0).removeprefix('--config=')
  runs = grid.make(recipe, [word.removeprefix('--sweep=') for word in ours],
                   None, pathlib.Path('runs'), theirs)
  assert [(run.config.model.shortcut, run.config.model.depth)
          for run in runs] == [('none', 20), ('none', 56), ('A', 20), ('A', 56)]
  settings = {json.dumps(schema.to_dict(dataclasses.replace(
      run.config, model=schema.Model()))) for run in runs}
  assert len(settings) == 1


def test_the_rate_of_keras_by_epochs():
  config = loading.load('tutorials/cifar10_keras_resnet_v1')
  steps = plan.total_steps(config, 50_000)
  epoch = 50_000 / 32
  assert steps == 200 * epoch
  rates = [float(schedules.learning_rate(
      tf.constant(int(e * epoch), tf.int64), config.schedule, total_steps=steps,
      warmup_steps=0)) for e in (0, 79.9, 80, 120, 160, 180, 199.9)]
  np.testing.assert_allclose(
      rates, [1e-3, 1e-3, 1e-4, 1e-5, 1e-6, 0.5e-6, 0.5e-6], rtol=1e-6)


def _small(recipe, **model):
  """Returns (config, source) of 2 updates of 4 images of a recipe's kind."""
  config = loading.load(recipe)
  channels = 1 if 'mnist' in config.data.name else 3
  rng = np.random.default_rng(0)
  source = sources.InMemory(
      tf.constant(rng.integers(0, 256, (12, 32, 32, channels), np.uint8)),
      tf.constant(rng.integers(0, 10, 12), tf.int32), 10)
  return dataclasses.replace(
      config, model=dataclasses.replace(config.model, **model),
      global_batch=4, eval_batch=4, train_epochs=0.0, train_steps=2), source


@pytest.mark.parametrize('recipe', [
    recipe if _MODEL[recipe] == 'baseline'
    else pytest.param(recipe, marks=pytest.mark.slow) for recipe in _RECIPES])
def test_trains(recipe):
  config, source = _small(recipe, **_SHALLOW.get(_MODEL[recipe], {}))
  _, state, run = small_runs.build(config, 1, source)
  before = [p.numpy() for p in state.params]
  assert run(0, 2, stop=False).step == 2
  after = [p.numpy() for p in state.params]
  assert all(np.isfinite(new).all() for new in after)
  changed = [(old != new).any() for old, new in zip(before, after, strict=True)]
  assert np.mean(changed) > 0.5


@pytest.mark.parametrize('recipe, decayed', [
    ('cifar10_keras_resnet_v1', 'convolutions'),
    ('cifar10_keras_resnet_v2', 'convolutions'),
    ('cifar10_resnet18', 'logits/kernel')])
def test_l2_is_where_the_tutorial_has_it(recipe, decayed):
  config, source = _small(f'tutorials/{recipe}')
  model, _, _ = small_runs.build(config, 1, source)
  variables = model.trainable_variables
  marked = [v for v, mark in zip(variables, optimizers.decayed(
      [v.path for v in variables], config.optimizer), strict=True) if mark]
  if decayed == 'logits/kernel':
    assert [v.path for v in marked] == [decayed]
  else:
    assert marked == [v for v in variables if len(v.shape) == 4]
