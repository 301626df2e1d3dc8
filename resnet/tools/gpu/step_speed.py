"""Training steps on a batch that never changes, and what they are made of.

The whole step is the trainer's own, on images in memory. Forward-backward and
update are the same two functions, each called by itself; the host gap is what
is left of the step, without them, the sum over devices and the wait for input.
"""
import gc

import keras
import tensorflow as tf

from resnet.tools.gpu import failures, step_parts, target, transfers
from resnet.tools.gpu.job import Job

_PRECISIONS = ('bfloat16', 'float16', 'float32')
_SHARE = 4  # Of --block_secs, for what is called by itself.


def measure(job: Job) -> None:
  """Measures precisions and batches, the config's precision first."""
  target.prepare(job)
  images = target.shape_of(job)
  precisions = dict.fromkeys([job.config.precision, *_PRECISIONS])
  first, *others = job.batches
  settings = [(precision, first, 1) for precision in precisions]
  settings[1:1] = [(job.config.precision, first, job.count)] * (job.count > 1)
  settings += [(precision, batch, 1) for batch in others
               for precision in precisions]
  known = {}
  for precision, batch, count in settings:
    name = f'{precision}, {batch} images, {count} device' + 's' * (count > 1)
    if job.left() < 0:
      job.found.add(name, None, note='the time was up')
      continue
    try:
      secs, waited = _whole(job, images, name, precision, batch, count)
      if batch == first:
        _split(job, images, precision, batch, count, secs * (1 - waited), known)
    except tf.errors.OpError as error:  # Too little memory, say.
      job.found.add(name, None, note=failures.sentence(error))
    keras.backend.clear_session()
    gc.collect()


def _whole(job, images, name, precision, batch, count):
  """Measures the whole step; returns target.Timed."""
  strategy = target.strategy(job, count)
  config, source = target.constant(
      target.with_batch(job.config, batch, count, precision), images)
  whole = target.time_training(
      target.trained(config, strategy, source, job.jit), job.block_secs)
  step = 1000 * whole.step_secs
  job.found.add(name, config.global_batch / whole.step_secs, 'images/s',
                f'{step:.2f} ms a step', measure='step', milliseconds=step,
                precision=precision, batch=batch, devices=count)
  return whole


def _split(job, images, precision, batch, count, step_secs, known):
  """Measures the parts of a step; known has those of one device, or gets them.
  """
  least = job.block_secs / _SHARE
  if precision not in known:
    strategy = target.strategy(job, 1)
    config, source = target.constant(
        target.with_batch(job.config, batch, 1, precision), images)
    made = step_parts.make(config, strategy, source, job.jit)
    known[precision] = made.weights, {
        'forward-backward': target.time_repeats(made.forward_backward, least),
        'update': target.time_repeats(made.update, least)}
  weights, parts = known[precision]
  if count > 1:
    parts = {**parts, 'sum over devices': transfers.sum_secs(
        target.strategy(job, count), weights, 'AUTO', least)}
  parts = {**parts, 'host gap': step_secs - sum(parts.values())}
  for part, secs in parts.items():
    job.found.add(f'  {part}', 1000 * secs, 'ms', measure=part,
                  precision=precision, batch=batch, devices=count)
