"""What a step is made of runs on GPUs, and the host reads none of its results.

Held by the graphs that GPUs would get: see gpu_traces.
"""
import contextlib
import json
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from resnet import compilation
from tests import processes, tiny_dataset
from tests.resnet import gpu_cases, gpu_graphs, gpu_traces

_RECIPES = ('digits_resnet8', 'cifar10_resnet20', 'imagenet_resnet50')


class _Case(NamedTuple):
  recipe: str
  precision: str
  replicas: int
  sync: bool = False
  digest: bool = False

  def __str__(self):
    return '-'.join([self.recipe.partition('_')[0], self.precision,
                     str(self.replicas), *['sync'] * self.sync,
                     *['digest'] * self.digest])


_QUICK = (_Case('digits_resnet8', 'float32', 1, digest=True),
          _Case('digits_resnet8', 'float16', 2))
_ALL = (
    *(_Case(recipe, precision, 2) for recipe in _RECIPES
      for precision in gpu_cases.PRECISIONS),
    *(_Case(recipe, 'float32', 1) for recipe in _RECIPES),
    *(_Case('digits_resnet8', precision, 2, sync=True, digest=True)
      for precision in gpu_cases.PRECISIONS),
    _Case('imagenet_resnet50', 'float16', 2, sync=True))


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
  folder = tmp_path_factory.mktemp('photos')
  tiny_dataset.prepare_photos(folder)
  return str(folder)


@pytest.fixture(scope='module', ids=str, params=[
    *_QUICK, *(pytest.param(case, marks=pytest.mark.slow)
               for case in _ALL if case not in _QUICK)])
def traced(request, photos):
  """(the case, its traced calls)."""
  case = request.param
  config = gpu_cases.config(
      case.recipe, precision=case.precision, augment=True,
      sync_batch_norm=case.sync, **gpu_cases.SHALLOW[case.recipe])
  return case, gpu_traces.trace(
      config, gpu_traces.strategy_over(case.replicas),
      *gpu_cases.splits(config, photos), digest_positions=case.digest)


def _check(found, replicas, sync=False):
  """Checks the findings of gpu_traces."""
  devices = gpu_graphs.DEVICES[:replicas]
  assert found['without_kernel'] == []
  assert found['small_integers'] == []
  assert found['condition'] == []
  assert found['decided'] == []
  assert found['batches'] == ['CPU:0', *devices]
  if not sync:  # Batch norm over replicas has collectives of its own.
    assert found['collectives'] == (
        dict.fromkeys(devices, 1) if replicas > 1 else {})


def test_a_run_needs_nothing_that_gpus_lack(traced):
  case, calls = traced
  _check(gpu_traces.findings(calls), case.replicas, case.sync)


def test_images_that_nothing_changes_leave_xla_as_floats():
  config = gpu_cases.config('digits_resnet8', sync_batch_norm=True,
                            **gpu_cases.SHALLOW['digits_resnet8'])
  calls = gpu_traces.trace(config, gpu_traces.strategy_over(2),
                           *gpu_cases.splits(config, ''))
  assert gpu_traces.findings(calls)['small_integers'] == []


@pytest.mark.slow
@pytest.mark.parametrize('replicas, precision, sync', [
    (1, 'float32', False), (2, 'float16', False), (2, 'bfloat16', True)])
def test_a_worker_needs_nothing_that_gpus_lack(
    replicas, precision, sync, photos):
  recipes = _RECIPES[:1] if sync else _RECIPES
  result = processes.run(
      'tests.resnet.gpu_graph_worker', f'--replicas={replicas}',
      f'--precision={precision}', f'--sync_batch_norm={sync}',
      f'--photos={photos}', *(f'--recipe={recipe}' for recipe in recipes))
  assert result.code == 0, result.err
  lines = result.out.splitlines()
  assert len(lines) == len(recipes)
  for line in lines:
    _check(json.loads(line), replicas, sync)


def test_counters_are_on_the_host_whatever_device_is_the_default():
  with tf.device(gpu_graphs.DEVICES[0]):
    numbers = compilation.on_host(3, 5)
  assert [n.device[-5:] for n in numbers] == ['CPU:0', 'CPU:0']
  assert [int(n) for n in numbers] == [3, 5]


def _graph(function, *dtypes, **options):
  specs = [tf.TensorSpec([2], dtype) for dtype in dtypes]
  return gpu_graphs.Graph.of(tf.function(
      function, autograph=False, **options).get_concrete_function(*specs))


def _add(x):
  return tf.add_n([x, x])


def test_what_gpus_lack_is_found_outside_of_xla():
  """FACTS: TensorFlow adds int16 on CPUs only."""
  lacking = {'AddN(int16, int16) on no device'}
  assert gpu_graphs.without_kernel(_graph(_add, tf.int16)) == lacking
  assert gpu_graphs.without_kernel(_graph(_add, tf.float16)) == set()
  called = _graph(lambda x: tf.function(_add)(x), tf.int16)
  assert gpu_graphs.without_kernel(called) == lacking
  compiled = tf.function(_add, jit_compile=True)
  assert gpu_graphs.without_kernel(_graph(lambda x: compiled(x), tf.int16)
                                   ) == set()

  def placed(x):
    with tf.device('CPU:0'):
      return _add(x)

  assert gpu_graphs.without_kernel(_graph(placed, tf.int16)) == set()


def test_small_integers_are_found_outside_of_xla():
  found = gpu_graphs.with_small_integers(_graph(_add, tf.int16))
  assert found == {'AddN(int16, int16) on no device',
                   'Identity(int16) on no device'}  # It is also returned.
  assert gpu_graphs.with_small_integers(_graph(_add, tf.int32)) == set()
  compiled = tf.function(_add, jit_compile=True)
  assert gpu_graphs.with_small_integers(_graph(
      lambda x: tf.cast(compiled(x), tf.float32), tf.int16)
      ) == {'Cast(int16) on no device'}


def _condition(goes_on, start=0):
  """What is found in the condition of a loop that doubles a vector."""
  def call(x):
    return tf.while_loop(goes_on, lambda step, x: (step + 1, x * 2),
                         [tf.constant(start), x])

  return gpu_graphs.in_condition(_graph(call, tf.float32))


def test_what_a_condition_reads_from_a_device_is_found():
  # Comparisons of int32 run on the host, those of int64 on the GPU.
  below = lambda step, x: step < 3
  assert _condition(below) == []
  found = _condition(below, np.int64(0))
  assert any(one.startswith('Less in while_cond') for one in found)

  def placed(step, x):
    with compilation.host():
      return step < 3

  assert _condition(placed, np.int64(0)) == []
  found = _condition(lambda step, x: x[0] < 3)
  assert [one.partition(' ')[0] for one in found].count('float32') == 1


@pytest.mark.parametrize('on_host', [True, False])
def test_a_conditional_that_a_device_decides_is_found(on_host):
  def call(x):
    with compilation.host() if on_host else contextlib.nullcontext():
      wanted = tf.equal(tf.constant(1, tf.int64), tf.cast(x[0], tf.int64))
    return compilation.only_if(wanted, lambda y: 2 * y, x)

  graph = _graph(call, tf.float32)
  found = gpu_graphs.decided_by_devices(graph)
  assert len(found) == (0 if on_host else 1)
  # One operation, whatever TensorFlow makes of conditionals of its own.
  assert not [node for node in gpu_graphs.nodes(graph)
              if '_lower_using_switch_merge' in node.definition.attr]


# Nodes outside of XLA of a call, for each replica, and 10 % of room. Each takes
# the host some microseconds in every step.
_MOST_NODES = 995


@pytest.mark.slow
def test_the_host_starts_few_nodes_for_each_replica(photos):
  """Of ResNet-50, at any width."""
  config = gpu_cases.config('imagenet_resnet50')
  calls = gpu_traces.trace(config, gpu_traces.strategy_over(2),
                           *gpu_cases.splits(config, photos))
  nodes = sum(1 for _ in gpu_graphs.nodes(calls.train, branches=False))
  assert 300 < nodes / 2 <= _MOST_NODES, nodes / 2
