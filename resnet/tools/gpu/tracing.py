"""Where the time of a step goes, by TensorFlow's profiler; the trace is kept.

  tensorboard --logdir report.trace      (with tensorboard-plugin-profile)
"""
import collections
import os

import tensorflow as tf

from resnet.run.profiling import trace
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
  options = tf.profiler.experimental.ProfilerOptions(
      host_tracer_level=2, python_tracer_level=0, device_tracer_level=1)
  with tf.profiler.experimental.Profile(
      os.fspath(job.trace_folder), options):
    call = train(step, _STEPS, False)
  job.found.add('trace', os.fspath(job.trace_folder), note=(
      f'{_STEPS} steps, {1000 * call.seconds / _STEPS:.1f} ms each under the '
      'profiler'), measure='trace')
  newest = max(job.trace_folder.rglob('*.xplane.pb'),
               key=lambda path: path.stat().st_mtime)
  totals = collections.defaultdict(float)
  for operation in trace.parse(newest.read_bytes()):
    totals[operation.kind] += operation.secs
  whole = sum(totals.values())
  longest = sorted(totals.items(), key=lambda pair: -pair[1])
  for kind, secs in longest[:_SHOWN]:
    job.found.add(f'  {kind}', 1000 * secs / _STEPS, 'ms a step',
                  f'{secs / whole:.1%}', measure='operation', kind=kind)
