"""Joins a config, its data and its network into calls that train and evaluate.

This is where batches from `pipelines` meet the model.
"""
import contextlib
import functools
import time
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from configs.process import host_memory
from configs.process.errors import UserError
from pipelines import augmentation
from pipelines import batches
from pipelines import decoding
from pipelines import order
from resnet import plan
from resnet import schedules
from resnet import steps
from resnet.distribution import strategy as strategy_lib


_iterators = {}  # {use: the last one}; see _iterate.


class Call(NamedTuple):
  """What one host call to Train did."""
  step: int  # Updates done, all in all.
  stop: bool  # Whether some process was asked to stop.
  images: int  # Without those skipped as bad.
  loss: float  # Mean over these images, nats.
  accuracy: float
  seconds: float
  input_secs: float  # Of them, waiting for the input.


class Train:
  """Several updates a call, over a stream that starts at `first_step`."""

  def __init__(self, config, strategy, model, state, source, *, jit,
               first_step, digest_positions=False):
    """Args: see network.build; jit 'auto', 'true' or 'false'; first_step int;
    digest_positions: whether `digest` is to be asked for."""
    self._config, self._strategy, self._state = config, strategy, state
    self._source = source
    self._total_steps = plan.total_steps(config, source.size)
    self._warmup_steps = plan.warmup_steps(config, source.size)
    _check_batch(config, strategy.num_replicas_in_sync)
    self._stream_end = first_step
    self._digest = order.digest if digest_positions else None
    self._run = self._make_run(model, compiler(config, strategy, jit),
                               make_augment(config, strategy, jit))
    self.steps_per_call, self._step_secs = 1, 0.0

  def __call__(self, step, most, stop):
    """Trains `most` updates, or fewer if asked to stop or the loss breaks.

    Args:
      step: int, updates done.
      most: int, at least 1, updates to do.
      stop: true if this process was asked to stop: all processes then stop
        after the same step, the next.

    Returns:
      Call.
    """
    if step == self._stream_end and step < self._total_steps:
      self._open_stream(step)
    last = min(step + most, self._stream_end)
    host_memory.keep_freed()
    started = time.monotonic()
    with _explained(self._source, lambda: self._examples(step, last)):
      new_step, totals, input_secs = self._run(
          self._iterator, tf.constant(step, tf.int64),
          tf.constant(last, tf.int64), _host_values(stop, self._step_secs))
      (stop_sum, secs_sum, loss_sum, correct,
       count) = totals.numpy()  # Waits for the devices.
    seconds = time.monotonic() - started
    done = int(new_step) - step
    self._step_secs = seconds / done
    self.steps_per_call = plan.steps_of_next_call(
        done, secs_sum / self._strategy.num_replicas_in_sync)
    return Call(int(new_step), bool(stop_sum), int(count), loss_sum / count,
                correct / count, seconds, float(input_secs))

  def means(self):
    """{'loss', 'accuracy', 'images'} of the images since the last reset_means.
    """
    loss_sum, correct, count = self._state.sums.numpy()
    return {'loss': float(loss_sum / count),
            'accuracy': float(correct / count), 'images': int(count)}

  def digest(self):
    """A whole number that tells the set of positions drawn since then."""
    low, middle, high = self._state.digest.numpy().tolist()
    return low + 2**8 * middle + 2**16 * high

  def reset_means(self):
    self._state.sums.assign(tf.zeros([3]))
    self._state.digest.assign(tf.zeros([3], tf.int64))

  def is_finite(self):
    """Whether every weight is a finite number."""
    return all(np.isfinite(p.numpy()).all() for p in self._state.params)

  def learning_rate(self, step):
    """The rate of update number `step`, a float."""
    return float(schedules.learning_rate(
        tf.constant(step, tf.int64), self._config.schedule,
        total_steps=self._total_steps, warmup_steps=self._warmup_steps))

  def _open_stream(self, step):
    """Makes the iterator that gives batches from `step` on, of one size."""
    config = self._config
    crop, self._stream_end = None, self._total_steps
    if config.data.image_size:
      sizes = config.augment.sizes or (config.data.image_size,)
      size, self._stream_end = plan.phase(step, sizes, self._total_steps)
      crop = decoding.RandomCrop(
          (size, size, self._source.image_shape[-1]), config.seed,
          config.augment.smallest_crop)
    self._iterator = _iterate('train', _distribute(
        self._strategy, functools.partial(
            batches.train, self._source, seed=config.seed, first_step=step,
            last_step=self._stream_end, global_batch=config.global_batch,
            repeats=config.augment.repeats, crop=crop)))

  def _examples(self, step, last):
    """The examples of some global batches, int64 array."""
    n = self._config.global_batch
    return batches.train_examples(
        tf.range(step * n, last * n, dtype=tf.int64), size=self._source.size,
        seed=self._config.seed, global_batch=n,
        repeats=self._config.augment.repeats).numpy()

  def _make_run(self, model, compiled, augment_images):
    """The tf.function of several updates in a row."""
    config, strategy = self._config, self._strategy
    replica_step = functools.partial(
        steps.replica_train_step, self._state, digest=self._digest,
        forward_backward=compiled(functools.partial(
            steps.forward_backward, model=model,
            augment=augment_images,
            standardize=augmentation.standardize,
            label_smoothing=config.label_smoothing,
            global_batch=config.global_batch)),
        update=compiled(functools.partial(
            steps.update, optimizer=config.optimizer, schedule=config.schedule,
            decayed=[v.path.endswith('kernel')
                     for v in model.trainable_variables],
            total_steps=self._total_steps, warmup_steps=self._warmup_steps,
            precision=config.precision)))

    @tf.function
    def run(iterator, step, last, host):
      totals, waited = tf.zeros([5]), tf.constant(0.0, tf.float64)
      while (step < last and totals[0] == 0.0
             and tf.math.is_finite(totals[2])):
        asked = tf.timestamp()
        batch = next(iterator)
        with tf.control_dependencies(
            [strategy.experimental_local_results(batch)[0]['weight']]):
          waited += tf.timestamp() - asked
        per_replica = strategy.run(replica_step, args=(batch, host, step))
        totals += strategy.experimental_local_results(per_replica)[0]
        step += 1
      return step, totals, waited

    return run


class Evaluate:
  """Passes over a split, every example counted once."""

  def __init__(self, config, strategy, model, state, source, *, jit):
    """Args: see Train; `source` is the split to evaluate on."""
    replicas = strategy.num_replicas_in_sync
    replica_batch = -(-config.eval_batch // replicas)
    self._steps = batches.eval_steps(source.size, replica_batch, replicas)
    self._source, self._batch = source, replica_batch * replicas
    self._strategy = strategy
    self._dataset = _distribute(strategy, functools.partial(
        batches.evaluate, source, replica_batch=replica_batch))
    self._run = _make_eval_run(strategy, functools.partial(
        steps.replica_eval_step, state,
        evaluate=compiler(config, strategy, jit)(functools.partial(
            steps.evaluate, model=model, standardize=augmentation.standardize))))

  def __call__(self, stop_requested=lambda: None):
    """One pass; asks stop_requested between host calls.

    Returns:
      {'loss' (nats), 'accuracy', 'top5_accuracy' (with more than 5 classes),
      'examples' (how many were counted), 'skipped_images' (as bad, if any)};
      None if a process was to stop.
    """
    iterator = _iterate('evaluate', self._dataset)
    totals, step = tf.zeros([6]), 0
    most, step_secs, secs_sum = 1, 0.0, 0.0
    host_memory.keep_freed()
    while step < self._steps:
      started = time.monotonic()
      last = min(step + most, self._steps)
      with _explained(self._source, lambda: range(
          step * self._batch, min(last * self._batch, self._source.size))):
        totals = self._run(
            iterator, tf.constant(step), tf.constant(last), totals,
            _host_values(stop_requested(), step_secs))
        stop, secs = totals[:2].numpy()  # Waits for the devices.
      if stop:
        return None
      step_secs = (time.monotonic() - started) / (last - step)
      most = plan.steps_of_next_call(
          last - step, (secs - secs_sum) / self._strategy.num_replicas_in_sync)
      step, secs_sum = last, secs
    _, _, loss_sum, correct, top5, count = totals.numpy().tolist()
    if not count:  # All of them were skipped: say what is wrong with the first.
      raise self._source.explain([0])
    values = {'loss': loss_sum / count, 'accuracy': correct / count,
              'top5_accuracy': top5 / count, 'examples': int(count)}
    if count < self._source.size:
      values['skipped_images'] = self._source.size - int(count)
    if self._source.num_classes <= 5:
      del values['top5_accuracy']
    return values


def _make_eval_run(strategy, replica_step):
  @tf.function
  def run(iterator, step, last, totals, host):
    while step < last and totals[0] == 0.0:
      per_replica = strategy.run(replica_step, args=(next(iterator), host))
      totals += strategy.reduce(
          tf.distribute.ReduceOp.SUM, per_replica, axis=None)
      step += 1
    return totals

  return run


def _host_values(stop, step_secs):
  """What a process tells the others, as the sum that all of them see.

  How many steps they do at once follows from it, too: a sum over workers meets
  only that of the same iteration of the same call, so that workers who called
  by their own clocks would wait for each other without end.

  Args:
    stop: true if this process was asked to stop.
    step_secs: seconds a step of its last call.

  Returns:
    float32 [2].
  """
  return tf.constant([float(bool(stop)), step_secs])


def make_augment(config, strategy, jit):
  """What forward_backward does to images first; see augment.apply.

  Where XLA is not used for the whole step, --jit=auto still uses it here: on
  GPUs, whose whole numbers TensorFlow's own operations would take to the host,
  and for policies, which it makes three times as fast on CPUs.
  """
  function = functools.partial(
      augmentation.apply, seed=config.seed, config=config.augment)
  if jit == 'auto' and (strategy_lib.on_gpus(strategy)
                        or config.augment.policy != 'none'):
    return _with_xla(function)
  return function


@contextlib.contextmanager
def _explained(source, examples):
  """Turns TensorFlow's error for input that cannot be read into a UserError.

  Args:
    source: see sources.py.
    examples: -> those that may have been read meanwhile; asked after an error.
  """
  try:
    yield
  except (tf.errors.InvalidArgumentError, tf.errors.UnknownError) as error:
    explanation = source.explain(examples())
    if explanation:
      raise explanation from error
    raise


def _check_batch(config, replicas):
  """UserError unless replicas can share the global batch, and pair in it."""
  replica_batch = strategy_lib.replica_batch(config.global_batch, replicas)
  mixed = config.augment.mixup or config.augment.cutmix
  if mixed and replica_batch % 2:
    raise UserError(
        f'config.global_batch={config.global_batch} gives each of {replicas} '
        f'replicas {replica_batch} images, and mixup and cutmix mix them in '
        f'pairs: give a multiple of {2 * replicas}.')


def _distribute(strategy, make_dataset):
  """A distributed dataset of make_dataset(share=...), a share a process."""
  replicas = strategy.num_replicas_in_sync

  def of_process(context):
    local = replicas // context.num_input_pipelines
    return make_dataset(share=batches.Share(
        replicas, context.input_pipeline_id * local, local))

  return strategy.distribute_datasets_from_function(of_process)


def _iterate(use, dataset):
  """An iterator that stays until there is another for the same use.

  Freeing one in mid-stream takes a second, and five on a busy machine: at the
  end of a process that was told to stop, all other workers would wait for it.
  """
  _iterators[use] = iter(dataset)
  return _iterators[use]


def compiler(config, strategy, jit):
  """What makes a pure function ready to be traced: XLA, or nothing more.

  Without XLA there must be no tf.function around it: synchronised batch norm
  reduces over replicas inside, which a nested function cannot.
  """
  if not strategy_lib.use_xla(jit, strategy, config.model.sync_batch_norm):
    return tf.autograph.experimental.do_not_convert

  return _with_xla


def _with_xla(function):
  # The lambda hides bound keywords, which tf.function would take for inputs.
  return tf.function(lambda *arguments: function(*arguments),
                     jit_compile=True, autograph=False)
