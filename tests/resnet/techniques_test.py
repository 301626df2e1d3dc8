"""Every technique resumes exactly and does not depend on the hardware.

A field of the config that changes training is in `_TECHNIQUES`, or in
`_ELSEWHERE` with the reason: a new one cannot be forgotten.
"""
import dataclasses
import functools

import numpy as np
import pytest

from configs import combinations, schema
from configs.process.errors import UserError
from tests.resnet import gpu_graphs, gpu_traces, small_runs

_LENET = {'model.name': 'lenet5'}  # No batch norm: the same on all devices.
_RESNET = {'model.sync_batch_norm': True}
_TECHNIQUES = {
    'sgd': {**_LENET, 'optimizer.momentum': 0.8, 'optimizer.nesterov': True},
    'adam': {**_LENET, 'optimizer.name': 'adam', 'optimizer.beta_1': 0.8,
             'optimizer.beta_2': 0.99, 'optimizer.epsilon': 1e-3,
             'optimizer.weight_decay': 0.1},
    'adamw': {**_LENET, 'optimizer.name': 'adamw', 'optimizer.epsilon': 1e-3,
              'optimizer.decayed': ('*bias',)},
    'rmsprop': {**_LENET, 'optimizer.name': 'rmsprop',
                'optimizer.epsilon': 1e-3},
    'lars': {**_LENET, 'optimizer.name': 'lars', 'optimizer.trust': 0.02},
    'lamb': {**_LENET, 'optimizer.name': 'lamb', 'optimizer.epsilon': 1e-3,
             'schedule.peak': 0.01},
    'clip_norm': {**_LENET, 'optimizer.clip': 'norm', 'optimizer.clip_at': 0.1},
    'clip_value': {**_LENET, 'optimizer.clip': 'value',
                   'optimizer.clip_at': 0.01},
    'clip_adaptive': {**_LENET, 'optimizer.clip': 'adaptive',
                      'optimizer.clip_at': 0.1},
    'accumulate': {**_LENET, 'optimizer.accumulate': 2},
    'ema': {**_LENET, 'ema.decay': 0.9},
    'ema_at_once': {**_LENET, 'ema.decay': 0.9, 'ema.warmup': False,
                    'ema.evaluated': False},
    'cosine': {**_LENET, 'schedule.name': 'cosine', 'schedule.end': 0.01,
               'schedule.warmup_epochs': 0.5, 'schedule.peak_batch': 16},
    'polynomial': {**_LENET, 'schedule.name': 'polynomial',
                   'schedule.power': 2.0},
    'step': {**_LENET, 'schedule.name': 'step', 'schedule.drops_at': (0.5,),
             'schedule.drop_factors': (0.5,)},
    'sigmoid': {**_LENET, 'loss': 'sigmoid', 'class_weights': (1.0, 3.0),
                'label_smoothing': 0.1},
    'accumulated_mixup': {
        **_LENET, 'optimizer.accumulate': 2, 'augment.mixup': 0.3,
        'augment.mix_probability': 0.7, 'augment.mix_epochs': 1.5},
    'shapes': {**_LENET, 'augment.flip': True, 'augment.vertical_flip': True,
               'augment.crop_padding': 2, 'augment.shift': 0.1,
               'augment.cutout': 4, 'augment.erasing': 0.5,
               'augment.cutmix': 1.0},
    'colors': {**_LENET, 'augment.brightness': 0.4, 'augment.contrast': 0.4,
               'augment.saturation': 0.4, 'augment.grayscale': 0.5,
               'augment.blur': 0.5},
    'rand_augment': {**_LENET, 'augment.policy': 'rand_augment',
                     'augment.layers': 1, 'augment.magnitude': 7.0},
    'trivial_augment': {**_LENET, 'augment.policy': 'trivial_augment'},
    'repeats': {**_LENET, 'augment.repeats': 2},
    'random_depth': {**_RESNET, 'model.stochastic_depth': 0.5,
                     'model.dropout': 0.2, 'model.zero_init_last_gamma': True},
    'additions': {**_RESNET, 'model.stem': 'deep', 'model.shortcut': 'D',
                  'model.squeeze_excite': 2, 'model.blur_pool': True},
    'groups': {**_RESNET, 'model.block': 'bottleneck', 'model.depth': 11,
               'model.groups': 2, 'model.inner_width': 2,
               'model.width': 4, 'model.version': 'v2'},
    'frozen': {**_RESNET, 'finetune.frozen': ('stage1', '*beta')},
    'frozen_average': {**_LENET, 'finetune.frozen': ('layer1', '*/bias'),
                       'ema.decay': 0.9, 'optimizer.accumulate': 2},
    'layer_decay': {**_LENET, 'finetune.layer_decay': 0.5},
}
# Where fields, or groups of them, are tested instead.
_ELSEWHERE = {
    'monitor': 'loop_techniques_test', 'recovery': 'loop_techniques_test',
    'precision': 'trainer_test', 'reduce_precision': 'steps_test',
    'code': 'own_test', 'seed': 'the order of the data',
    'global_batch': 'all tests',
    'eval_batch': 'evaluator_test', 'train_epochs': 'plan_test',
    'train_steps': 'all tests', 'data': 'tests/pipelines',
    'synthetic': 'tests/pipelines', 'model.family': 'resnet_test',
    'model.batch_norm_momentum': 'batch_norm_test',
    'model.batch_norm_epsilon': 'batch_norm_test',
    # What is cropped on the host.
    **dict.fromkeys(('augment.smallest_crop', 'augment.largest_crop',
                     'augment.crop_ratio'), 'tests/pipelines/decoding_test'),
    'augment.sizes': 'trainer_test'}


def _config(changes, **more):
  """A config of 4 updates of 16 images, with fields of groups changed."""
  config = dataclasses.replace(small_runs.config(), train_steps=4,
                               global_batch=16)
  for path, value in {**changes, **more}.items():
    group, _, name = path.rpartition('.')
    if group:
      config = dataclasses.replace(config, **{group: dataclasses.replace(
          getattr(config, group), **{name: value})})
    else:
      config = dataclasses.replace(config, **{name: value})
  combinations.check(config)
  return config


def _side(changes):
  return 32 if {'model.name', 'model.stem'} & changes.keys() else 8


_CHECKED = (1, 2, 4)  # Updates after which states are compared.


@functools.cache
def _undisturbed(changes, replicas):
  """Returns {updates: {path: value}} of a run; changes: items of a dict."""
  changes, values = dict(changes), {}
  source = small_runs.random_source(37, side=_side(changes))
  _, state, run = small_runs.build(_config(changes), replicas, source)
  for before, updates in zip((0, *_CHECKED), _CHECKED):
    assert run(before, updates - before, stop=False).step == updates
    values[updates] = {path: variable.numpy()
                       for path, variable in state.paths.items()}
    if replicas != 2:  # The others are compared after one update only.
      break
  return values


def _of(name, replicas):
  return _undisturbed(tuple(_TECHNIQUES[name].items()), replicas)


def _assert_all_equal(values, expected):
  assert values.keys() == expected.keys()
  for path, value in values.items():
    np.testing.assert_array_equal(value, expected[path], err_msg=path)


@pytest.mark.slow
@pytest.mark.parametrize('name', _TECHNIQUES)
def test_what_a_checkpoint_holds_is_all_that_a_run_needs(name):
  changes = _TECHNIQUES[name]
  source = small_runs.random_source(37, side=_side(changes))
  _, state, run = small_runs.build(_config(changes), 2, source, first_step=2)
  for path, value in _of(name, 2)[2].items():
    state.paths[path].assign(value)
  assert run(2, 2, stop=False).step == 4
  _assert_all_equal({path: variable.numpy()
                     for path, variable in state.paths.items()},
                    _of(name, 2)[4])


@pytest.mark.slow
@pytest.mark.parametrize('replicas', [2, 4])
@pytest.mark.parametrize('name', _TECHNIQUES)
def test_the_number_of_replicas_changes_no_more_than_rounding(name, replicas):
  small_runs.skip_if_onednn_is_wrong()
  one, more = (_of(name, count)[1] for count in (1, replicas))
  for path, value in one.items():
    np.testing.assert_allclose(value, more[path], atol=2e-5, rtol=1e-4,
                               err_msg=path)


@pytest.mark.slow
@pytest.mark.parametrize('name', _TECHNIQUES)
def test_a_technique_does_something(name):
  """Without it the weights would be others."""
  base = _LENET if 'model.name' in _TECHNIQUES[name] else _RESNET
  without, with_it = (_undisturbed(tuple(base.items()), 2)[4], _of(name, 2)[4])
  assert with_it.keys() - without.keys() or any(
      (with_it[path] != value).any() for path, value in without.items()
      if path in with_it)


@pytest.mark.slow
@pytest.mark.parametrize('name', _TECHNIQUES)
def test_one_collective_for_each_replica_and_step(name):
  changes = _TECHNIQUES[name]
  source = small_runs.random_source(37, side=_side(changes))
  calls = gpu_traces.trace(
      _config(changes), gpu_traces.strategy_over(2), source, source)
  found = gpu_traces.findings(calls)
  assert found['without_kernel'] == found['small_integers'] == []
  if 'model.sync_batch_norm' not in changes:
    assert found['collectives'] == dict.fromkeys(gpu_graphs.DEVICES, 1)


@pytest.mark.parametrize('changes, sentence', [
    ({'optimizer.accumulate': 3}, 'config.global_batch=16 gives each of 2 '
     'replicas 8 images, which config.optimizer.accumulate=3 does not divide: '
     'give a multiple of 6.'),
    ({'optimizer.accumulate': 8, 'augment.mixup': 0.2},
     'config.global_batch=16 gives each of 2 replicas 1 images at a time, but '
     'mixup and cutmix mix images in pairs: give a multiple of 32.')])
def test_parts_that_do_not_fit_are_refused(changes, sentence):
  with pytest.raises(UserError) as error:
    small_runs.build(_config({'model.name': 'baseline', **changes}), 2,
                     small_runs.random_source(37))
  assert str(error.value) == sentence


def test_no_field_is_forgotten():
  tested = set().union(*_TECHNIQUES.values())
  forgotten = [
      path for path in schema.plain_fields(schema.Config())
      if not {path, path.partition('.')[0]} & (tested | _ELSEWHERE.keys())]
  assert forgotten == []
