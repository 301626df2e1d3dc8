"""Compiles forward-backward and update once, and times it."""
import time

from resnet.tools.gpu import step_parts, target
from resnet.tools.gpu.job import Job


def measure(job: Job) -> None:
  """Compiles for one device, on CPUs too, unless --jit=false."""
  target.prepare(job)
  config, source = target.constant(
      target.with_batch(job.config, job.batches[0], 1), target.shape_of(job))
  jit = 'false' if job.jit == 'false' else 'true'
  strategy = target.strategy(job, 1)
  made = step_parts.make(config, strategy, source, jit)
  for name, function in (('forward-backward', made.forward_backward),
                         ('update', made.update)):
    started = time.perf_counter()
    function(1)
    job.found.add(f'trace and compile {name}', time.perf_counter() - started,
                  's')
