"""Evaluates the network on a split: every example is counted once."""
from collections.abc import Callable
import functools
import math
import time

import numpy as np
import tensorflow as tf

from configs import schema
from configs.process import host_memory
from configs.process.errors import UserError
from pipelines import batches, on_disk
from resnet import bound_steps, compilation, plan
from resnet import state as state_lib
from resnet.distribution import feeding, out_of_memory
from resnet.distribution.group import Group
from resnet.evaluation import eval_steps
from resnet.evaluation.seen import Seen
from resnet.models import own
from resnet.run.measures import compilations


class Evaluate:
  """Passes over one split, as often as it is called."""

  def __init__(self, config: schema.Config, strategy: tf.distribute.Strategy,
               model, state: state_lib.State, source, *, jit: str,
               keeps_seen: bool = False):
    """Builds the pass; nothing is read yet.

    Args:
      config: what is trained; eval_batch is shared by all replicas, and
        smaller if the split can be divided more evenly.
      strategy: the devices.
      model: Keras model, see network.build.
      state: the variables to evaluate with; their averages, if the config says
        so.
      source: the split, see pipelines/sources.py.
      jit: 'true', 'false' or 'auto'.
      keeps_seen: whether `seen` will be called.
    """
    if config.ema.decay and config.ema.evaluated:
      state = state_lib.averaged(state)
    replicas = strategy.num_replicas_in_sync
    self._replica_batch = batches.eval_batch(
        source.size, config.eval_batch, replicas)
    self._steps = batches.eval_steps(
        source.size, self._replica_batch, replicas)
    self._eval_batch = config.eval_batch
    self.source, self._batch = source, self._replica_batch * replicas
    self._strategy, self._replicas = strategy, replicas
    self._iterator = None  # At the start of a pass.
    self._metrics = own.metrics(config)
    self._group = Group.of(strategy)
    self._seen = Seen(source.num_classes, config.loss) if keeps_seen else None
    self._run = _make_run(
        strategy, functools.partial(
            eval_steps.replica_eval_step, state,
            evaluate=compilation.compiler(strategy, jit)(
                bound_steps.evaluate(config, model))),
        self._replica_batch, keeps_seen)

  def __call__(self, stop_requested: Callable[[], object] = lambda: None
               ) -> dict[str, float] | None:
    """Makes one pass.

    Args:
      stop_requested: asked between host calls whether to stop.

    Returns:
      {'loss' (nats), 'accuracy', 'top5_accuracy' (with more than 5 classes),
      the recipe's own metrics, 'examples' (how many were counted),
      'skipped_images' (as bad, if any)}; None if a process was asked to stop.

    Raises:
      UserError: the input cannot be read, or all of it was skipped as bad; or
        a metric of the recipe's own is not finite.
    """
    iterator = self._iterator or self._open_stream()
    self._iterator = None  # Until the pass is complete.
    totals, step = tf.zeros([6 + len(self._metrics)]), 0
    most, step_secs, secs_sum = 1, 0.0, 0.0
    host_memory.keep_freed()
    if self._seen:
      self._seen.clear()
    while step < self._steps:
      started = time.monotonic()
      last = min(step + most, self._steps)
      read = range(step * self._batch,
                   min(last * self._batch, self.source.size))
      with (feeding.explained(self.source, lambda read=read: read),
            out_of_memory.explained('config.eval_batch', self._eval_batch,
                                    self._replica_batch)):
        totals, rows = self._run(
            iterator, *compilation.on_host(step, last), totals,
            feeding.host_values(stop_requested(), step_secs))
        stop, secs = totals[:2].numpy()  # Waits for the devices.
      if stop:
        return None
      self._note(step, rows)
      step_secs = (time.monotonic() - started) / (last - step)
      most = plan.steps_of_next_call(
          last - step, (secs - secs_sum) / self._replicas)
      step, secs_sum = last, secs
    self._iterator = iterator
    return self._values(*totals[2:].numpy().tolist())

  def seen(self) -> Seen:
    """Returns what the last complete pass saw, on all workers together.

    All workers must call it: it is a collective.
    """
    assert self._seen
    return self._seen.of_all(self._group)

  def _note(self, step, rows):
    """Notes what a call from `step` on knows of its examples.

    They are on the host only now, after the call.
    """
    if not self._seen:
      return
    shares = self._strategy.experimental_local_results(rows)
    b = self._replica_batch
    first = self._group.rank * len(shares)
    for replica, share in enumerate(shares, first):
      share = share.numpy()
      positions = ((step + np.arange(len(share))[:, np.newaxis]) * self._batch
                   + replica * b + np.arange(b))
      self._seen.add(positions.ravel(), share.reshape(-1, share.shape[-1]))

  def _open_stream(self):
    """Returns an iterator over one pass after the other.

    Freeing an iterator after each would block for as long as tf.data's
    autotuning sleeps, up to a minute.
    """
    return feeding.iterate('evaluate', feeding.distribute(
        self._strategy, lambda share: batches.evaluate(
            self.source, replica_batch=self._replica_batch,
            share=share).repeat()))

  def _values(self, loss_sum, correct, top5, count, *own_sums):
    if not count:
      raise on_disk.all_bad(self.source, [0], 'the evaluation split')
    values = {'loss': loss_sum / count, 'accuracy': correct / count,
              'top5_accuracy': top5 / count,
              **self._own(own_sums, count), 'examples': int(count)}
    if count < self.source.size:
      values['skipped_images'] = self.source.size - int(count)
    if self.source.num_classes <= 5:
      del values['top5_accuracy']
    return values

  def _own(self, sums, count):
    """Returns the means of the recipe's own metrics."""
    values = {name: total / count for name, total in zip(self._metrics, sums)}
    wrong = [name for name, value in values.items() if not math.isfinite(value)]
    if wrong:
      raise UserError(
          f"The recipe's metric {wrong[0]} is {values[wrong[0]]}: have it "
          'return a finite number for every example.')
    return values


def _make_run(strategy, replica_step, replica_batch, keeps_rows):
  """Returns the tf.function that makes several steps of a pass.

  It returns the totals and, of each replica, what eval_steps.COLUMNS says of
  its examples in these steps; of no steps, unless `keeps_rows`.
  """
  # AutoGraph would take as long to convert the step as it takes to trace it.
  @tf.function(autograph=False)
  def run(iterator, first, last, totals, host):
    with compilation.host():
      kept = tf.range(first, last if keeps_rows else first)
      shape = tf.stack([tf.size(kept), replica_batch, len(eval_steps.COLUMNS)])

    def goes_on(step, *_):
      with compilation.host():
        return step < last

    def evaluate(step, totals, rows):
      with compilation.host():
        place = tf.reshape(tf.equal(kept, step), [-1, 1, 1])
      per_replica, rows = strategy.run(
          replica_step, args=(next(iterator), host, place, rows))
      totals += strategy.reduce(
          tf.distribute.ReduceOp.SUM, per_replica, axis=None)
      with compilation.host():
        return step + 1, totals, rows

    return tf.while_loop(goes_on, evaluate, [
        first, totals, strategy.run(tf.zeros, args=(shape,))])[1:]

  return compilations.Timed(run)
