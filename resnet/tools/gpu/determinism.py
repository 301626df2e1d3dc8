"""Whether runs end with the same bits: twice, after a kill, and as workers.

One run is never stopped; one is killed and continued. If they agree, the same
command gives the same bits twice, too; if not, a third run tells which of the
two does not hold.
"""
import pathlib

import numpy as np

from resnet.run import tensor_index
from resnet.tools.gpu import failures, trainers
from resnet.tools.gpu.job import Job
from resnet.tools.gpu.trainers import Setting

_STEPS = 5  # Updates until the kill, and from there to the end.
_TEXT, _FLOAT = 7, 1  # TensorFlow's DataType.
_WEIGHTS = 'model/'  # What their names begin with.
_RUNS = 4  # If nothing goes wrong: whole, killed, continued, workers.
_MOST_DEVICES = 2  # More say nothing new, and take longer to compile.


def measure(job: Job) -> None:
  """Trains some runs for a few steps, and compares their checkpoints."""
  setting = Setting(min(job.count, _MOST_DEVICES))
  add = job.found.add
  whole = _run(job, 'whole', setting, [2 * _STEPS], _RUNS)
  killed = _run(job, 'killed', setting, [_STEPS, 2 * _STEPS], _RUNS - 1)
  if differing(whole, killed):
    again = _run(job, 'again', setting, [2 * _STEPS], 2)
    _compare(job, 'the same command twice', whole, again)
  else:
    add('the same command twice', 'the same bits', measure='twice', same=True)
  _compare(job, 'killed and continued, against never stopped', whole, killed)
  name = 'workers against one process'
  if setting.devices == 1:
    add(name, None, note='there is one device')
    return
  try:
    workers = _run(job, 'workers', setting._replace(
        processes=setting.devices), [2 * _STEPS], 1)
  except failures.Failed as error:
    add(name, None, note=str(error))
    return
  _compare(job, name, whole, workers)


def _run(job, name, setting, kills, to_come):
  """Trains, and kills the run at some steps; returns its last checkpoint."""
  folder = job.folder / name
  checkpoint = folder
  for number in kills:
    checkpoint = folder / 'checkpoints' / f'ckpt-{number}'
    trainers.train(
        job, setting, folder, job.left() / to_come / len(kills),
        _index(checkpoint).exists, [
            f'--save_every_steps={_STEPS}', '--keep_last=1000',
            f'--log_every_steps={_STEPS}',
            *['--deterministic'] * (job.kind == 'GPU')])
  return checkpoint


def _compare(job, name, one, other):
  names = differing(one, other)
  if not names:
    job.found.add(name, 'the same bits', measure=name, same=True)
    return
  job.found.add(
      name, f'{len(names)} tensors differ', note='by at most '
      f'{largest_difference(one, other):.2g} of the largest weight',
      measure=name, same=False, tensors=names[:20])


def differing(one: pathlib.Path, other: pathlib.Path) -> list[str]:
  """Returns the names of tensors whose bits differ between two checkpoints.

  Args:
    one: path of a checkpoint without the ending.
    other: likewise.
  """
  ours, theirs = _entries(one), _entries(other)
  return sorted(
      name for name in ours | theirs
      if _known(ours.get(name)) != _known(theirs.get(name)))


def largest_difference(one: pathlib.Path, other: pathlib.Path) -> float:
  """Returns by how much weights differ, as a share of the largest weight.

  Not of the largest one of each tensor: where batch norm follows, the gradients
  of biases are 0 but for rounding, and so are the biases.
  """
  ours, theirs = _entries(one), _entries(other)
  largest, scale = 0.0, float(np.finfo(np.float32).tiny)
  for name in ours.keys() & theirs.keys():
    if name.startswith(_WEIGHTS) and ours[name].dtype == _FLOAT:
      a, b = _numbers(one, ours[name]), _numbers(other, theirs[name])
      scale = max(scale, float(np.abs(a).max(initial=0)))
      largest = max(largest, float(np.abs(a - b).max(initial=0)))
  return largest / scale


def _known(entry):
  """Returns what tells the bits of a tensor; None if it is not there."""
  return entry and (entry.dtype, entry.shape, entry.crc)


def _entries(checkpoint):
  entries = tensor_index.decode(_index(checkpoint).read_bytes())
  return {name: entry for name, entry in entries.items()
          if entry.dtype != _TEXT}


def _index(checkpoint):
  return checkpoint.with_name(f'{checkpoint.name}.index')


def _numbers(checkpoint, entry):
  data = checkpoint.with_name(f'{checkpoint.name}.data-00000-of-00001')
  with data.open('rb') as file:
    file.seek(entry.offset)
    return np.frombuffer(file.read(entry.size), np.float32)
