"""Measures the input with the cores that this process has."""
import dataclasses

from pipelines import input_speed, on_disk, stages
from resnet.tools.gpu import target
from resnet.tools.gpu.job import Job

_FIRST_BATCHES = 2  # That tell how many images a measurement takes.


def measure(job: Job) -> None:
  """Reads, decodes and crops as training does; up to the prefetched batch."""
  source = target.load(job)
  config = dataclasses.replace(job.config, global_batch=job.batches[0])

  def stream():
    if isinstance(source, on_disk.OnDisk):
      return stages.streams(config, source)['batch']()
    return input_speed.training(config, source)

  first = input_speed.measure(stream(), _FIRST_BATCHES * config.global_batch)
  speed = input_speed.measure(
      stream(), max(round(job.block_secs * first.per_sec), 1))
  job.found.add('speed', speed.per_sec, 'images/s')
  job.found.add('speed of a CPU-second', speed.per_cpu_sec, 'images')
