"""Histograms of weights and gradients, as TensorBoard itself reads them."""
import itertools
import json

import numpy as np
import pytest
from tensorboard.backend.event_processing import plugin_event_accumulator
from tensorboard.plugins.histogram import summary_v2
from tensorboard.util import tensor_util
import tensorflow as tf

from configs import schema
from resnet import loop
from resnet.execution.options import Options
from resnet.run.events import histograms
from tests.resnet import small_runs, strategies

_OPTIONS = Options(
    steps_per_call=3, log_every_steps=3, histograms_every_steps=2,
    save_every_steps=4, save_every_secs=0, eval_every_epochs=0, keep_last=9)
_RATE = 0.25


def _config(steps):
  """Returns the config of some updates of plain SGD, so that each is known."""
  return small_runs.config(
      model=schema.Model(name='baseline'), train_steps=steps,
      optimizer=schema.Optimizer(
          momentum=0.0, nesterov=False, weight_decay=0.0, clip='norm',
          clip_at=1e-3),
      schedule=schema.Schedule(name='constant', peak=_RATE, warmup_epochs=0))


class _Killed(Exception):
  """Ends a run at once, as a kill would."""


def _train(folder, replicas, killed_at=-1):
  """Trains 8 updates; killed between two calls, if it says so."""
  def asked(step):
    if step == killed_at:
      raise _Killed

  loop.train_and_evaluate(_config(8), strategies.on_cpus(replicas), folder,
                          _OPTIONS, asked)


def _written(folder):
  """Returns {tag: [(step, float64 [30, 3])]} as TensorBoard reads it."""
  events = plugin_event_accumulator.EventAccumulator(str(folder / 'train'))
  events.Reload()
  return {tag: [(event.step, tensor_util.make_ndarray(event.tensor_proto))
                for event in events.Tensors(tag)]
          for tag in events.PluginTagToContent('histograms')}


def _weights(folder, step):
  reader = tf.train.load_checkpoint(
      str(folder / 'checkpoints' / f'ckpt-{step}'))
  return {name.removeprefix('model/'): reader.get_tensor(name)
          for name in reader.get_variable_to_shape_map()
          if name.startswith('model/')}


@pytest.fixture(scope='module', params=[
    1, pytest.param(2, marks=pytest.mark.slow)])
def run(request, tmp_path_factory):
  """(the folder of a run that was never stopped, its replicas)."""
  folder = tmp_path_factory.mktemp('histograms') / 'run'
  _train(folder, request.param)
  return folder, request.param


def test_every_weight_and_gradient_has_one_at_each_step(run):
  folder, _ = run
  written, weights = _written(folder), _weights(folder, 8)
  trained = {name for name in weights if '/moving_' not in name}
  assert written.keys() == {
      f'{kind}/{name}' for kind in ('weights', 'weight_gradients')
      for name in trained}
  for tag, points in written.items():
    assert [step for step, _ in points] == [2, 4, 6, 8], tag
    values = weights[tag.partition('/')[2]]
    for _, buckets in points:
      assert buckets[:, 2].sum() == values.size, tag
  for name in trained:  # After the update.
    _, buckets = written[f'weights/{name}'][-1]
    assert (buckets[0, 0], buckets[-1, 1]) == (
        weights[name].min(), weights[name].max()), name


def test_gradients_are_those_before_clipping(run):
  """Clipped ones have a norm of 0.001; that of these is in metrics.jsonl."""
  folder, _ = run
  written = _written(folder)
  least, most = 0.0, 0.0  # Squares, if each is at one edge of its bucket.
  for tag, points in written.items():
    if tag.startswith('weight_gradients/'):
      left, right, counts = points[-1][1].T
      edges = np.abs([left, right])
      crosses = (left < 0) & (right > 0)
      least += (np.where(crosses, 0, edges.min(0))**2 * counts).sum()
      most += (edges.max(0)**2 * counts).sum()
  *_, line, _ = (folder / 'metrics.jsonl').read_text().splitlines()
  norm = json.loads(line)['gradient_norm']
  assert 0.01 < np.sqrt(least) <= norm <= np.sqrt(most) < 2 * norm


def test_a_killed_run_has_the_same_ones_once(run, tmp_path):
  folder, replicas = run
  with pytest.raises(_Killed):  # Step 6 is written, and only step 4 is saved.
    _train(tmp_path / 'run', replicas, killed_at=6)
  assert 6 in [step for step, _ in next(iter(
      _written(tmp_path / 'run').values()))]
  _train(tmp_path / 'run', replicas)
  expected, found = _written(folder), _written(tmp_path / 'run')
  assert expected.keys() == found.keys()
  for tag, points in expected.items():
    for one, other in itertools.zip_longest(points, found[tag]):
      assert one[0] == other[0], tag
      np.testing.assert_array_equal(one[1], other[1], err_msg=tag)


def test_without_the_flag_no_gradient_is_kept():
  _, _, train = small_runs.build(
      _config(1), 1, small_runs.random_source(37))
  assert train.gradients is None


def test_buckets_are_those_of_tensorboards_own_writer():
  values = np.random.default_rng(0).normal(size=(7, 50)).astype(np.float32)
  own, = summary_v2.histogram_pb('tag', values).value
  value, = histograms.summary([('tag', values)]).value
  assert (value.tag, value.metadata) == (own.tag, own.metadata)
  np.testing.assert_allclose(tensor_util.make_ndarray(value.tensor),
                             tensor_util.make_ndarray(own.tensor), rtol=1e-6)


def test_buckets_match_those_by_hand():
  found = histograms.buckets(np.array([0, 0.5, 1, 29, 30, 30], np.float32))
  assert found[[0, 1, 2, 29]].tolist() == [
      [0, 1, 2], [1, 2, 1], [2, 3, 0], [29, 30, 3]]
  assert found[:, 2].sum() == 6
  same = histograms.buckets(np.zeros([2, 2], np.float32))
  assert same[-1].tolist() == [0, 0, 4] and not same[:-1].any()


def test_what_is_not_finite_has_none():
  made = histograms.summary([
      ('gradients/a', np.array([1, np.inf])), ('gradients/b', np.ones(2))])
  assert [value.tag for value in made.value] == ['gradients/b']
