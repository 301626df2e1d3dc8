"""Runs of the trainer, as users start them, for as long as they are needed.

  trainers.train(job, Setting(devices=2, processes=1), folder, secs=60,
                 extra=['--log_every_steps=20'],
                 until=lambda: len(trainers.records(folder)) > 5)
"""
from collections.abc import Callable, Sequence
import json
import os
import pathlib
import signal
from typing import Any, NamedTuple

from configs.process import python_module
from resnet.tools import recipe_file
from resnet.tools.gpu import processes
from resnet.tools.gpu.job import Job

_FOREVER_STEPS = 10**8
# A second SIGINT makes the launcher kill its workers, and wait for them.
_KILL_LAUNCHER = (signal.SIGINT, signal.SIGINT)


class Setting(NamedTuple):
  """What a run trains on: each process has an equal share of the devices."""
  devices: int
  processes: int = 1

  def __str__(self) -> str:
    devices = f'{self.devices} device' + 's' * (self.devices > 1)
    return (f'{self.processes} workers, {devices}' if self.processes > 1
            else f'one process, {devices}')


def train(job: Job, setting: Setting, folder: pathlib.Path, secs: float,
          until: Callable[[], object], extra: Sequence[str] = ()) -> None:
  """Trains until something has happened; then the processes are killed.

  The global batch is that of the devices.

  Args:
    job: what to train.
    setting: on what.
    folder: the run folder; its log is beside it.
    secs: how long it may take.
    until: returns true once enough has been trained.
    extra: flags of resnet.train.

  Raises:
    failures.Failed: it ended, or the time was up before.
  """
  recipe = job.folder / 'recipe.py'
  if not recipe.exists():
    recipe_file.write(recipe, job.config)
  is_launched = setting.processes > 1
  words = [*_command(job, setting), *_flags(job, setting, recipe),
           f'--workdir={folder}', f'--max_mins={secs / 60}', *extra]
  processes.run(
      words, secs=secs, until=until, log=folder.with_suffix('.log'),
      environ=python_module.environment(os.environ),
      kill_with=_KILL_LAUNCHER if is_launched else (signal.SIGKILL,))


def records(folder: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the log points of training so far, oldest first."""
  path = folder / 'metrics.jsonl'
  text = path.read_text('utf-8') if path.exists() else ''
  whole, _, _ = text.rpartition('\n')  # The last line may be incomplete.
  found = map(json.loads, whole.splitlines())
  return [one for one in found if one['split'] == 'train']


def _command(job, setting):
  """Returns the words that start the processes, but no flags of the trainer."""
  if setting.processes == 1:
    return python_module.command('resnet.train')
  own = setting.devices // setting.processes
  gpus = own if job.kind == 'GPU' else 0
  return [*python_module.command('launch.local'),
          f'--workers={setting.processes}', f'--gpus_per_worker={gpus}',
          f'--log_dir={job.folder / "logs"}', '--max_restarts=0', '--']


def _flags(job, setting, recipe):
  reading, own = job.reading, setting.devices // setting.processes
  words = [
      f'--config={recipe}', f'--jit={job.jit}',
      f'--config.global_batch={job.batches[0] * setting.devices}',
      '--config.train_epochs=0', f'--config.train_steps={_FOREVER_STEPS}',
      '--config.schedule.warmup_epochs=0', '--eval_every_epochs=0',
      '--save_every_secs=0', f'--memory_gib={reading.memory_gib}',
      f'--check_crc={reading.check_crc}',
      f'--skip_bad_images={reading.skip_bad_images}']
  if reading.data_dir:
    words.append(f'--data_dir={reading.data_dir}')
  if job.kind == 'CPU':
    return [*words, f'--virtual_devices={own}']
  if setting.processes == 1:
    devices = ','.join(f'GPU:{index}' for index in range(own))
    return [*words, '--strategy=mirrored', f'--devices={devices}']
  return words
