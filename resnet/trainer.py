"""Joins a config, its data and its network into calls that train.

Batches from `pipelines` meet the model here.
"""
import functools
import os
import time
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from configs import schema
from configs.process import host_memory
from configs.process.errors import UserError
from pipelines import batches, decoding, on_disk, order
from resnet import bound_steps, compilation, plan, steps
from resnet import state as state_lib
from resnet.distribution import feeding, out_of_memory
from resnet.distribution import strategy as strategy_lib
from resnet.distribution.packing import Packing
from resnet.optimization import schedules
from resnet.optimization.kept_gradients import KeptGradients
from resnet.run.measures import compilations, update_figures


class Call(NamedTuple):
  """What one host call to Train did."""
  step: int  # Updates done since the start of the run.
  broken_at: int | None  # Updates done when the loss was first not finite.
  stop: bool  # Whether some process was asked to stop.
  images: int  # Trained on; images skipped as bad do not count.
  loss: float  # Mean over these images, nats; 0 if there is none.
  accuracy: float
  seconds: float
  input_secs: float  # Of `seconds`, waiting for the input; 0: or not measured.


class Train:
  """Several updates a call, over a stream that starts at `first_step`.

  Attributes:
    gradients: KeptGradients; None if they are not kept.
    update_figures: see update_figures.named; of the last update of the last
      call, if that was to be measured. Empty otherwise.
    names: of the weights, as 'stem_conv/kernel'.
    rate_factors: see update_figures.part_factors.
    steps_per_call: updates that the next call should make.
  """

  def __init__(self, config: schema.Config, strategy: tf.distribute.Strategy,
               model, state: state_lib.State, source, *, jit: str,
               first_step: int, digest_positions: bool = False,
               pack_mib: int = 0, keep_gradients: bool = False):
    """Builds the calls; nothing is read or traced yet.

    Args:
      config: what is trained.
      strategy: the devices.
      model: Keras model, see network.build.
      state: the variables that training changes.
      source: the training split, see pipelines/sources.py.
      jit: 'true', 'false' or 'auto'.
      first_step: updates done before this process.
      digest_positions: whether `digest` will be called.
      pack_mib: see packing.Packing.
      keep_gradients: whether to keep those of the last update.

    Raises:
      UserError: the replicas cannot share the global batch evenly.
    """
    self._config, self._strategy, self._state = config, strategy, state
    self._source = source
    self._total_steps = plan.total_steps(config, source.size)
    self._warmup_steps = plan.warmup_steps(config, source.size)
    _check_batch(config, strategy.num_replicas_in_sync)
    self._stream_end = first_step
    packing = Packing.of(
        state.params, state.moving, replicas=strategy.num_replicas_in_sync,
        precision=config.reduce_precision, pack_mib=pack_mib)
    digest = order.digest if digest_positions else steps.no_digest
    self.gradients = (KeptGradients(strategy, packing, digest)
                      if keep_gradients else None)
    self._run = _make_run(strategy, self._replica_step(
        model, jit, digest, packing))
    self.update_figures: dict[str, float] = {}
    self.names, factors = bound_steps.rate_factors(config, model)
    self.rate_factors = update_figures.part_factors(self.names, factors)
    self.steps_per_call, self._step_secs = 1, 0.0

  def __call__(self, step: int, most: int, stop: object,
               measured_step: int = -1) -> Call:
    """Trains `most` updates; fewer if the stream ends.

    No value that a device computes decides whether to go on, so that it is not
    copied to the host at each update.

    Args:
      step: updates done.
      most: updates to do, at least 1.
      stop: true if this process was asked to stop; all processes learn of it.
      measured_step: sets `update_figures`, if the call ends there.
    """
    if step == self._stream_end and step < self._total_steps:
      self._open_stream(step)
    last = min(step + most, self._stream_end)
    host_memory.keep_freed()
    started, replicas = time.monotonic(), self._strategy.num_replicas_in_sync
    n = self._config.global_batch
    with (feeding.explained(self._source, lambda: self._examples(step, last)),
          out_of_memory.explained('config.global_batch', n, n // replicas)):
      totals, good, input_secs = self._run(
          self._iterator, *compilation.on_host(step, last, measured_step),
          feeding.host_values(stop, self._step_secs))
      (stop_sum, secs_sum, loss_sum, correct, count,
       *figures) = totals.numpy()  # Waits for the devices.
    seconds = time.monotonic() - started
    self.update_figures = (update_figures.named(np.array(figures))
                           if last == measured_step else {})
    done, good = last - step, int(good)
    self._step_secs = seconds / done
    self.steps_per_call = plan.steps_of_next_call(
        done, secs_sum / replicas)
    images = max(int(count), 1)  # All of them may have been skipped as bad.
    return Call(last, step + good + 1 if good < done else None, bool(stop_sum),
                int(count), loss_sum / images, correct / images, seconds,
                float(input_secs))

  def means(self) -> dict[str, float]:
    """Returns {'loss', 'accuracy', 'images'} since the last reset_means.

    Without any image, loss and accuracy are 0; see all_bad.
    """
    loss_sum, correct, count = self._state.sums.numpy()
    images = max(int(count), 1)
    return {'loss': float(loss_sum / images),
            'accuracy': float(correct / images), 'images': int(count)}

  def all_bad(self, step: int, last: int) -> UserError:
    """Returns the error for steps whose images were all skipped as bad.

    Args:
      step: updates done before the first of these steps.
      last: updates done after the last one.
    """
    return on_disk.all_bad(self._source, self._examples(step, last)[:1],
                           f'the steps {step + 1} to {last}')

  def digest(self) -> int:
    """Returns a digest of the positions drawn since the last reset_means."""
    low, middle, high = self._state.digest.numpy().tolist()
    return low + 2**8 * middle + 2**16 * high

  def reset_means(self) -> None:
    """Starts `means` and `digest` anew."""
    self._state.sums.assign(tf.zeros([3]))
    self._state.digest.assign(tf.zeros([3], tf.int64))

  def is_finite(self) -> bool:
    """Returns whether every weight is a finite number. Copies all to the host.
    """
    return all(np.isfinite(p.numpy()).all() for p in self._state.params)

  def learning_rate(self, step: int) -> float:
    """Returns the rate of the update that follows `step` others."""
    config = self._config
    return float(schedules.reduced(schedules.learning_rate(
        tf.constant(step, tf.int64),
        schedules.scaled(config.schedule, config.global_batch),
        total_steps=self._total_steps, warmup_steps=self._warmup_steps),
        self._state.rate_scale.read_value(), config.monitor.plateau_floor))

  def open_at(self, step: int) -> None:
    """Has the next call train from `step`, whatever was trained before."""
    self._stream_end = step

  def _open_stream(self, step):
    """Makes the iterator of batches from `step` on, all of one image size."""
    config, skipped = self._config, self._skipped()
    crop, self._stream_end = None, self._total_steps
    if config.data.image_size:
      sizes = config.augment.sizes or (config.data.image_size,)
      size, self._stream_end = plan.phase(step, sizes, self._total_steps)
      crop = decoding.random_crop(config, self._source.image_shape[-1], size)
    self._iterator = feeding.iterate('train', feeding.distribute(
        self._strategy, functools.partial(
            batches.train, self._source, seed=config.seed,
            first_step=step + skipped, last_step=self._stream_end + skipped,
            global_batch=config.global_batch,
            repeats=config.augment.repeats, crop=crop)))

  def _examples(self, step, last):
    """Returns the examples of the global batches [step, last), int64."""
    n, skipped = self._config.global_batch, self._skipped()
    return batches.train_examples(
        tf.range((step + skipped) * n, (last + skipped) * n, dtype=tf.int64),
        size=self._source.size, seed=self._config.seed, global_batch=n,
        repeats=self._config.augment.repeats).numpy()

  def _skipped(self):
    """Returns how many batches are left out before what comes next."""
    return int(self._state.recovery.numpy()[1])

  def _replica_step(self, model, jit, digest, packing):
    """Returns steps.replica_train_step with all but its inputs bound."""
    config, strategy = self._config, self._strategy
    augment = compilation.augment(config, strategy, jit, self._source.size)
    compile_share = compilation.compiler(
        strategy, jit, config.model.sync_batch_norm)
    compile_rest = compilation.compiler(strategy, jit)
    moving = set(map(id, self._state.moving))
    return functools.partial(
        steps.replica_train_step, self._state,
        kept=self.gradients.variables if self.gradients else (),
        measure=lambda measured, *arguments: compilation.only_if(
            measured, functools.partial(
                update_figures.measure, packing=packing), *arguments),
        local_share=compile_share(functools.partial(
            steps.local_share, packing=packing, digest=digest,
            moves=[id(v) in moving for v in self._state.statistics],
            forward_backward=bound_steps.forward_backward(
                config, model, augment))),
        apply_total=compile_rest(functools.partial(
            steps.apply_total, packing=packing,
            average=bound_steps.average(config), update=bound_steps.update(
                config, model, total_steps=self._total_steps,
                warmup_steps=self._warmup_steps))))


def _make_run(strategy, replica_step):
  """Returns the function that makes several updates in a row.

  Each pass of the loop ends with a barrier over all devices. One call from
  Python for each update has none, but takes the host 2 ms and 6 us for each
  variable of each replica, measured on CPUs: ResNet-50 on 8 GPUs has 3,400.
  """
  now = _clock()

  # AutoGraph would take as long to convert the step as it takes to trace it.
  @tf.function(autograph=False)
  def run(iterator, step, last, measured_step, host):

    def goes_on(step, *_):
      with compilation.host():
        return step < last

    def update(step, totals, figures, good, waited):
      del figures
      with compilation.host():
        asked, measured = now(), tf.equal(step + 1, measured_step)
      batch = next(iterator)
      with compilation.host(), tf.control_dependencies(
          [strategy.experimental_local_results(batch)[0]['weight']]):
        waited += now() - asked
      # Each is the same on all replicas.
      more, figures = (strategy.experimental_local_results(value)[0]
                       for value in strategy.run(
                           replica_step, args=(batch, host, step, measured)))
      totals += more
      # A sum that is not finite stays so.
      good += tf.cast(tf.math.is_finite(totals[2]), tf.float32)
      with compilation.host():
        step += 1
      return step, totals, figures, good, waited

    _, totals, figures, good, waited = tf.while_loop(goes_on, update, [
        step, tf.zeros([5]), tf.zeros([update_figures.SIZE]), tf.constant(0.0),
        tf.constant(0.0, tf.float64)])
    return tf.concat([totals, figures], 0), good, waited

  return compilations.Timed(run)


def _clock():
  """Returns tf.timestamp; one that stands still where it cannot be used.

  Under --deterministic, TensorFlow refuses to read the clock in a step. On one
  thread, the whole step may run before the clock is read again.
  """
  if 1 in (len(os.sched_getaffinity(0)),
           tf.config.threading.get_inter_op_parallelism_threads()):
    return lambda: tf.constant(0.0, tf.float64)
  try:
    tf.timestamp()
    return tf.timestamp
  except tf.errors.FailedPreconditionError:
    return lambda: tf.constant(0.0, tf.float64)


def _check_batch(config, replicas):
  """Raises UserError unless replicas share the batch, and pairs stay whole."""
  n, parts = config.global_batch, config.optimizer.accumulate
  replica_batch = strategy_lib.replica_batch(n, replicas)
  if replica_batch % parts:
    raise UserError(
        f'config.global_batch={n} gives each of {replicas} replicas '
        f'{replica_batch} images, which config.optimizer.accumulate={parts} '
        f'does not divide: give a multiple of {parts * replicas}.')
  mixed = config.augment.mixup or config.augment.cutmix
  if mixed and replica_batch // parts % 2:
    raise UserError(
        f'config.global_batch={n} gives each of {replicas} replicas '
        f'{replica_batch // parts} images{" at a time" if parts > 1 else ""}, '
        'but mixup and cutmix mix images in pairs: give a multiple of '
        f'{2 * parts * replicas}.')
