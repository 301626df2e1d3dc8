"""Seconds to compile the step with XLA: without and with its cache."""
import os
import tempfile

from configs.process import xla_cache
from resnet.tools.gpu import part_process
from resnet.tools.gpu.job import Job

_STARTS = ('cold', 'from the cache')


def measure(job: Job) -> None:
  """Compiles in two processes; the second finds what the first has kept."""
  with tempfile.TemporaryDirectory(dir=job.folder) as folder:
    environ = {'XDG_CACHE_HOME': folder, 'TF_XLA_FLAGS': xla_cache.others(
        os.environ.get('TF_XLA_FLAGS', ''))}
    for index, start in enumerate(_STARTS):
      found = part_process.figures(
          job, 'compile_once', job.left() / (len(_STARTS) - index),
          environ=environ)
      for one in found:
        job.found.add(f'{one.name}, {start}', one.value, one.unit,
                      measure='compile', start=start, what=one.name)
