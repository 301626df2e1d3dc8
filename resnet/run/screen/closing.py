"""The last lines of a run: how it ended, and what to do next."""
from collections.abc import Mapping, Sequence
import os
import pathlib
import shlex
from typing import Any, NamedTuple

from resnet.run.screen import columns, terminal
from resnet.run.screen.time_left import duration

_FIGURES = {'accuracy': 'accuracy', 'top-5': 'top5_accuracy', 'loss': 'loss'}


class Save(NamedTuple):
  """The newest checkpoint of a run that stops."""
  step: int
  folder: pathlib.Path
  secs: float | None = None  # How long it took; None: it was there before.


def finished_text(figures: Mapping[str, Any], path: str | os.PathLike,
                  colors: bool = False) -> str:
  """Returns what to print if there is nothing left to train."""
  return ('This run is finished; there is nothing left to train.\n'
          f'{summary_text(figures, path, colors)}')


def summary_text(figures: Mapping[str, Any], path: str | os.PathLike,
                 colors: bool = False) -> str:
  """Returns the last lines of a finished run.

  Args:
    figures: see report.summary.
    path: of the run folder.
    colors: whether the last accuracy is colored.
  """
  shares, speed = figures['time_shares'], figures['images_per_second']
  folder = shlex.quote(str(path))
  lines = [
      ('evaluated', f'{figures["examples"]} examples counted'),
      ('speed', (f'{speed:.0f} images/s' if speed else 'not measured')
       + ' (median of the log points)'),
      *(('', words) for words in figures.get('limit', '').split('; ') if words),
      ('time', f'{duration(figures["seconds"])}: {shares["training"]:.0%} '
       f'training, {shares["evaluation"]:.0%} evaluation, '
       f'{shares["checkpoints"]:.0%} checkpoints, '
       f'{shares["start_up"]:.0%} start-up'),
      ('run folder', path),
      ('view with', f'tensorboard --logdir {folder}'),
      ('next', f'python -m resnet.evaluate --workdir={folder} '
       '--checkpoint=best'),
      ('', f'python -m resnet.predict --workdir={folder} PICTURES'),
      ('', f'python -m resnet.export --workdir={folder}')]
  return f'{_best_and_last(figures, colors)}\n{columns.text(lines)}'


def _best_and_last(figures, colors):
  """Returns a table of the best evaluation and the last one."""
  shown = {head: name for head, name in _FIGURES.items()
           if name in figures or f'best_{name}' in figures}
  text = columns.table(['step', *shown], [
      (row, [str(figures[f'{which}step']),
             *(_figure(figures.get(which + name)) for name in shown.values())])
      for row, which in (('best', 'best_'), ('last', ''))])
  lines = text.split('\n')
  accuracy = _figure(figures['accuracy'])
  lines[-1] = lines[-1].replace(
      accuracy, terminal.painted(accuracy, 'green', colors), 1)
  return '\n'.join(lines)


def _figure(value):
  return '-' if value is None else f'{value:.4f}'


def stop_text(step: int, save: Save | None, signal: str | None = None,
              signal_secs: float = 0.0) -> str:
  """Returns the last line of a run that was asked to stop.

  Args:
    step: updates done.
    save: its newest checkpoint; None: there is none, or it is not known.
    signal: the name of the signal that asked; None: it was another worker's, or
      the time was over.
    signal_secs: how long ago it came.
  """
  if not step:
    return 'Stopped before the first step. Rerun the same command to start.'
  after = f', {signal_secs:.1f} s after {signal}' if signal else ''
  where = ''
  if save:
    took = '' if save.secs is None else f' in {save.secs:.2f} s'
    where = (f': checkpoint ckpt-{save.step} ({_size(save)}) '
             f'{"saved" if took else "is"} in {save.folder}{took}')
  return (f'Stopped at step {step}{where}{after}. Rerun the same command to '
          'continue.')


def newest(folder: pathlib.Path, steps: Sequence[int],
           secs: float | None) -> Save | None:
  """Returns the newest of the checkpoints in a folder.

  Args:
    folder: the checkpoints of a run.
    steps: of its checkpoints, ascending.
    secs: how long the newest took; None: it was there before.
  """
  return Save(steps[-1], folder, secs) if steps else None


def _size(save):
  """Returns the size of a checkpoint, such as '1.1 MiB'."""
  size = float(sum(path.stat().st_size
                   for path in save.folder.glob(f'ckpt-{save.step}.*')))
  for unit in ('B', 'KiB', 'MiB'):
    if size < 1024:
      return f'{size:.0f} B' if unit == 'B' else f'{size:.1f} {unit}'
    size /= 1024
  return f'{size:.1f} GiB'
