"""Where the time of a step goes, by TensorFlow's profiler; the trace is kept.

  tensorboard --logdir report.trace      (with pip install xprof)
"""
import os

import tensorflow as tf

from resnet.run.profiling import table, trace
from resnet.tools.gpu import target
from resnet.tools.gpu.job import Job

_STEPS = 5
_SHOWN = 12  # Types of operations.


def measure(job: Job) -> None:
  """Profiles a call of the training loop, with real input, on all devices."""
  target.prepare(job)
  config = target.with_batch(job.config, job.batches[0], job.count)
  train = target.trained(config, target.strategy(job, job.count),
                         target.load(job), job.jit)
  step = train(train(0, 1, False).step, _STEPS, False).step
  trace.start(job.trace_folder)
  try:
    call = train(step, _STEPS, False)
  finally:
    tf.profiler.experimental.stop()
  job.found.add('trace', os.fspath(job.trace_folder), note=(
      f'{_STEPS} steps, {1000 * call.seconds / _STEPS:.1f} ms each under the '
      'profiler'), measure='trace')
  kinds = table.kinds(trace.parse(
      trace.file_in(job.trace_folder).read_bytes()))
  whole = sum(secs for _, _, secs in kinds)
  for kind, _, secs in kinds[:_SHOWN]:
    job.found.add(f'  {kind}', 1000 * secs / _STEPS, 'ms a step',
                  f'{secs / whole:.1%}', measure='operation', kind=kind)
