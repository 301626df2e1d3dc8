"""The training loop as users run it, on more and more devices.

Each device has the same number of images a step, so that a perfect machine
would train as many times faster as it has devices.
"""
import statistics

from resnet.run.measures import limit
from resnet.tools.gpu import failures, trainers
from resnet.tools.gpu.job import Job
from resnet.tools.gpu.trainers import Setting

_LEAST_POINTS = 4  # The first one is left out.
_MOST_POINTS = 50


def measure(job: Job) -> None:
  """Measures one process, and a worker for each device; most of all first."""
  counts = job.counts()
  settings = [Setting(count) for count in counts[:2]]
  settings += [Setting(count, count) for count in counts[1:2]]
  for count in reversed(counts[2:]):
    settings += [Setting(count), Setting(count, count)]
  if job.count == 1:
    job.found.add('workers', None, note='there is one device')
  alone = None
  for index, setting in enumerate(settings):
    # Compiling takes most of the time of each, so that all get the same.
    secs = job.left() / min(len(settings) - index, 3)
    try:
      speed = _measure_one(job, setting, secs, alone)
    except failures.Failed as error:
      job.found.add(str(setting), None, note=str(error))
      continue
    alone = speed if setting.devices == 1 else alone


def _measure_one(job, setting, secs, alone):
  """Adds one setting; returns its images per second.

  Args:
    job: what to measure.
    setting: the devices.
    secs: that it may take.
    alone: images per second of one device; None: not known.
  """
  folder = job.folder / f'loop-{setting.processes}-{setting.devices}'

  def has_enough():
    points = trainers.records(folder)
    return len(points) >= _LEAST_POINTS and (
        len(points) >= _MOST_POINTS
        or points[-1]['time'] - points[0]['time'] >= job.block_secs)

  trainers.train(job, setting, folder, secs, has_enough,
                 [f'--log_every_steps={job.log_every_steps}'])
  points = trainers.records(folder)[1:]
  speed, milliseconds, waited = (
      statistics.median(point[name] for point in points) for name in (
          'images_per_second', 'step_milliseconds', 'input_wait_fraction'))
  rates = limit.rates(points)
  efficiency = alone and speed / (alone * setting.devices)
  note = f'{milliseconds:.2f} ms a step, {waited:.1%} waiting for input'
  if rates:
    note += f', {limit.rate_text(**rates)}'
  if efficiency and setting.devices > 1:
    note += f', {efficiency:.1%} of {setting.devices} times one device'
  job.found.add(str(setting), speed, 'images/s', note, measure='loop',
                devices=setting.devices, processes=setting.processes,
                milliseconds=milliseconds, input_wait_fraction=waited,
                efficiency=efficiency, **rates)
  return speed
