"""The input by itself: images a second of one process, by its cores."""
import os

from resnet.tools.gpu import part_process
from resnet.tools.gpu.job import Job

_LEAST_SECS = 10.0  # For the start of a process and a short measurement.


def measure(job: Job) -> None:
  """Measures all cores, one, and powers of two in between."""
  total = len(os.sched_getaffinity(0))
  between = [2**i for i in range(1, total.bit_length()) if 2**i < total]
  counts = list(dict.fromkeys([total, 1, *reversed(between)]))
  for index, cores in enumerate(counts):
    name = f'{cores} core' + 's' * (cores > 1)
    if index > 1 and job.left() < _LEAST_SECS:
      job.found.add(name, None, note='the time was up')
      continue
    found = part_process.figures(
        job, 'input_once', job.left() / min(2, len(counts) - index),
        cores=cores)
    speed, per_core = (one.value for one in found)
    cap = ', the cap of one process' * (cores == total)
    job.found.add(name + cap, speed, 'images/s',
                  f'{per_core:.0f} for each CPU-second', measure='input',
                  cores=cores, all_cores=cores == total,
                  per_cpu_second=per_core)
