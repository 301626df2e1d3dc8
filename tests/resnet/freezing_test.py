"""Frozen parts stay as they are; rates decay from the head down."""
import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from configs import schema
from configs.process import typed_fields
from configs.process.errors import UserError
from resnet import network, steps
from resnet.models import parts
from tests.resnet import small_runs

_STAGES = ['stem', 'stage1', 'stage2', 'stage3']
# Network -> (fields, its parts), by hand.
_NETWORKS = {
    'resnet': ({}, [*_STAGES, 'head']),
    'resnet of four stages': (
        {'family': 'imagenet', 'depth': 50, 'version': 'v2', 'stem': 'deep',
         'shortcut': 'D', 'squeeze_excite': 4}, [*_STAGES, 'stage4', 'head']),
    'keras_v1': ({'depth': 8}, [*_STAGES, 'head']),
    'keras_v2': ({'depth': 11}, [*_STAGES, 'head']),
    **{name: ({'depth': 18}, [*_STAGES, 'stage4', 'head']) for name in (
        'resnet18_cifar10', 'resnet18_cifar100', 'resnet18_flip',
        'resnet18_mnist')},
    'baseline': ({}, ['layer1', 'layer5', 'head']),
    'lenet5': ({}, ['layer1', 'layer3', 'layer6', 'layer7', 'head']),
    'alexnet8': ({}, ['layer1', 'layer3', 'layer5', 'layer6', 'layer7',
                      'layer10', 'layer12', 'head']),
    'vgg16': ({}, ['layer1', 'layer2', 'layer5', 'layer6', 'layer9', 'layer10',
                   'layer11', 'layer14', 'layer15', 'layer16', 'layer19',
                   'layer20', 'layer21', 'layer25', 'layer27', 'head']),
    'inception10': ({}, ['layer1', 'layer2', 'layer3', 'layer4', 'layer5',
                         'head']),
}


def _config(name='resnet', frozen=(), layer_decay=1.0, **fields):
  fields = {'depth': 8, 'width': 4, **fields}
  return small_runs.config(
      model=schema.Model(name=name.partition(' ')[0], **fields),
      finetune=schema.FineTune(frozen=frozen, layer_decay=layer_decay))


def _build(config, side=32):
  return network.build_model(config, (side, side, 3), 2)


def test_every_network_is_below():
  allowed, = (field.metadata['allowed'] for field in typed_fields.plain(
      schema.Config()) if field.path == 'model.name')
  assert {name.partition(' ')[0] for name in _NETWORKS} == {*allowed} - {'own'}


@pytest.mark.parametrize('name', _NETWORKS)
def test_all_but_the_head_can_be_frozen(name):
  """Then only the head trains, and no batch norm below it moves."""
  fields, expected = _NETWORKS[name]
  model = _build(_config(name, tuple(expected[:-1]), **fields))
  paths = [v.path for v in model.variables]
  assert parts.parts(paths) == expected
  trained = [v.path for v in model.trainable_variables]
  assert {parts.part(path) for path in trained} == {'head'}
  assert 'logits/kernel' in trained
  rng = np.random.default_rng(0)
  inputs = {'image': rng.normal(size=(4, 32, 32, 3)).astype(np.float32),
            'position': np.arange(4)}
  _, after = model.stateless_call(
      [v.value for v in model.trainable_variables],
      [v.value for v in model.non_trainable_variables],
      {name: inputs[name] for name in model.input}, training=True)
  for variable, value in zip(model.non_trainable_variables, after):
    if parts.part(variable.path) != 'head':
      np.testing.assert_array_equal(value, variable.value, variable.path)


@pytest.mark.parametrize('patterns, frozen', [
    (['stem'], {'stem_conv/kernel', 'stem_bn/gamma', 'stem_bn/beta',
                'stem_bn/moving_mean', 'stem_bn/moving_variance'}),
    (['s*conv/kernel'], {'stem_conv/kernel'}),
    (['stem_bn/gamma'], {'stem_bn/gamma'}),  # Its statistics go on moving.
    (['stem_bn/gamma', '*beta'],
     {'stem_bn/gamma', 'stem_bn/beta', 'stem_bn/moving_mean',
      'stem_bn/moving_variance', 'final_bn/beta'}),
    (['stem*moving_mean'],  # Both of its statistics, but no weight.
     {'stem_bn/moving_mean', 'stem_bn/moving_variance'}),
    (['head'], {'final_bn/gamma', 'final_bn/beta', 'final_bn/moving_mean',
                'final_bn/moving_variance', 'logits/kernel', 'logits/bias'})])
def test_what_is_frozen(patterns, frozen):
  paths = ['stem_conv/kernel', *(
      f'{layer}/{name}' for layer in ('stem_bn', 'final_bn') for name in (
          'gamma', 'beta', 'moving_mean', 'moving_variance')),
           'logits/kernel', 'logits/bias']
  assert parts.frozen(paths, patterns) == frozen


@pytest.mark.parametrize('sync', [False, True])
def test_frozen_statistics_normalize_while_scale_and_offset_train(sync):
  model = _build(_config(frozen=('stem*moving*',), sync_batch_norm=sync))
  trained = {v.path for v in model.trainable_variables}
  assert {'stem_bn/gamma', 'stem_bn/beta'} < trained
  layer = model.get_layer('stem_bn')
  layer.moving_mean.assign([1, 2, 3, 4])
  layer.moving_variance.assign([4, 4, 9, 9])
  x = np.random.default_rng(0).normal(size=(2, 3, 3, 4)).astype(np.float32)
  np.testing.assert_allclose(
      layer(x, training=True), (x - [1, 2, 3, 4]) / np.sqrt(
          np.array([4, 4, 9, 9]) + 1e-5), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('frozen, sentence', [
    (('stem', 'stage4'), "config.finetune.frozen=stem,stage4 matches no "
     "variable with 'stage4': give names of parts (stem, stage1, stage2, "
     'stage3, head), or patterns of names such as stage1_*.'),
    (('stage[12]',), "config.finetune.frozen=stage[12] matches no variable "
     "with 'stage[12]': give names of parts (stem, stage1, stage2, stage3, "
     'head), or patterns of names such as stage1_*.'),
    (('*/*',), 'config.finetune.frozen=*/* leaves nothing to train: leave out '
     'one of the parts (stem, stage1, stage2, stage3, head).')])
def test_what_cannot_be_frozen_is_refused(frozen, sentence):
  with pytest.raises(UserError) as error:
    _build(_config(frozen=frozen))
  assert str(error.value) == sentence


def _train(config, replicas, updates=2):
  """Returns (values before, values after) by name in the checkpoint."""
  source = small_runs.random_source(36, side=8)
  _, state, run = small_runs.build(config, replicas, source)
  before = {path: v.numpy() for path, v in state.paths.items()}
  run(0, updates, stop=False)
  return before, {path: v.numpy() for path, v in state.paths.items()}


@pytest.mark.slow
@pytest.mark.parametrize('replicas', [1, 3])
@pytest.mark.parametrize('reduce_precision', ['float32', 'bfloat16'])
def test_frozen_parts_keep_all_bits(replicas, reduce_precision):
  """On three replicas too, whose sums of thirds are rounded."""
  config = dataclasses.replace(
      _config(frozen=('stem', 'stage1')), global_batch=12, train_steps=2,
      reduce_precision=reduce_precision,
      optimizer=schema.Optimizer(weight_decay=0.1),
      ema=schema.Ema(decay=0.5))
  before, after = _train(config, replicas)
  frozen, moved = set(), set()
  for path, value in before.items():
    same = (value == after[path]).all()
    group, _, name = path.partition('/')
    if group in ('model', 'average'):
      (frozen if same else moved).add((group, parts.part(name)))
  # Each part is wholly the one or the other; gammas of blocks move, too.
  assert frozen == {(group, name) for group in ('model', 'average')
                    for name in ('stem', 'stage1')}
  assert moved == {(group, name) for group in ('model', 'average')
                   for name in ('stage2', 'stage3', 'head')}
  assert not [path for path in before if path.startswith('momentum/st')
              and parts.part(path.partition('/')[2]) in ('stem', 'stage1')]


def test_rate_factors():
  """0.5 for each part between a part and the head, which has 1."""
  names = ['stage2_block1_conv1/kernel', 'stem_conv/kernel', 'logits/bias',
           'final_bn/gamma', 'stage1_block3_bn2/beta']
  assert parts.rate_factors(names, names, 0.5) == [0.5, 0.125, 1, 1, 0.25]
  layers = ['layer2_conv/kernel', 'layer10_dense/kernel', 'logits/kernel']
  assert parts.rate_factors(layers, layers, 0.1) == pytest.approx(
      [0.01, 0.1, 1])
  # Frozen parts count: the others' rates do not depend on what is frozen.
  assert parts.rate_factors(names[:1], names, 0.5) == [0.5]


@pytest.mark.slow
@pytest.mark.parametrize('name', ['sgd', 'adamw', 'rmsprop', 'lars', 'lamb'])
def test_the_first_update_is_that_of_the_factor(name):
  """It is proportional to the rate, weight decay included; at 1/4 exactly."""
  optimizer = schema.Optimizer(name=name, weight_decay=0.1,
                               decayed=('*kernel',))
  base = dataclasses.replace(
      small_runs.config(model=schema.Model(name='lenet5')),
      optimizer=optimizer, schedule=schema.Schedule('constant', peak=0.01))

  def moves(layer_decay):
    config = dataclasses.replace(
        base, finetune=schema.FineTune(layer_decay=layer_decay))
    source = small_runs.random_source(36, side=32)
    _, state, run = small_runs.build(config, 1, source)
    before = {path: v.numpy() for path, v in state.paths.items()}
    run(0, 1, stop=False)
    return {path: state.paths[path].numpy().astype(np.float64) - value
            for path, value in before.items() if path.startswith('model/')}

  plain, decayed = moves(1.0), moves(0.25)
  away = {'layer1': 4, 'layer3': 3, 'layer6': 2, 'layer7': 1, 'head': 0}
  assert len(plain) == 10
  for path, move in plain.items():
    factor = 0.25 ** away[parts.part(path.partition('/')[2])]
    np.testing.assert_allclose(decayed[path], factor * move, err_msg=path,
                               rtol=1e-3, atol=3e-8)


def test_a_decay_of_rates_that_are_all_the_head_s_is_refused():
  config = dataclasses.replace(
      _config(frozen=('stem', 'stage?_*'), layer_decay=0.5), global_batch=12)
  with pytest.raises(UserError) as error:
    _train(config, 1)
  assert str(error.value) == (
      'config.finetune.layer_decay=0.5 has no effect, because only the head '
      'is trained: set it to 1.0, or freeze less.')


def _kernels_of_gradients(frozen):
  """Returns how many gradients of convolutions a step computes, by kind."""
  config = _config(frozen=frozen)
  model = _build(config)
  values = lambda variables: [v.value for v in variables]
  batch = {'image': tf.zeros([4, 32, 32, 3], tf.uint8),
           'label': tf.zeros([4], tf.int32), 'weight': tf.ones([4]),
           'position': tf.zeros([4], tf.int64)}
  traced = tf.function(lambda: steps.forward_backward(
      values(model.trainable_variables), values(model.non_trainable_variables),
      tf.zeros(3), tf.ones(3), tf.constant(1.0), batch, model=model,
      augment=lambda images, target, *_: (images, target),
      standardize=lambda images, *_: tf.cast(images, tf.float32),
      loss=lambda logits, target: tf.reduce_sum(logits * target, 1),
      class_weights=(), label_smoothing=0.0,
      global_batch=4)[0], autograph=False).get_concrete_function()
  needed = tf.compat.v1.graph_util.extract_sub_graph(
      traced.graph.as_graph_def(), [t.op.name for t in traced.outputs])
  names = [node.op for node in needed.node]
  return [sum(name.startswith(kind) for name in names) for kind in (
      'Conv2DBackpropFilter', 'Conv2DBackpropInput', 'FusedBatchNormGrad')]


def test_no_gradient_is_computed_below_the_first_trained_variable():
  """ResNet-8: 1 + 3 x 2 convolutions, two projections; a norm after each."""
  assert _kernels_of_gradients(()) == [9, 8, 9]
  # Left: the two blocks of stages 2 and 3. Their first convolutions and
  # projections get no gradient of their input in stage 2.
  assert _kernels_of_gradients(('stem', 'stage1')) == [6, 4, 6]
  assert _kernels_of_gradients(('stem', 'stage?_*')) == [0, 0, 0]
