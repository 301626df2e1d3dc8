"""The results of a sweep, as text."""
from collections.abc import Mapping, Sequence
import statistics

from launch.sweep.grid import FIGURES, Run


def text(runs: Sequence[Run], states: Mapping[str, str]) -> str:
  """Returns a line for each run, then one for each setting with several seeds.

  Args:
    runs: the runs, those of one setting next to each other.
    states: {name of a run: what to say if it is not finished}.
  """
  summaries = {run.name: run.summary() for run in runs}
  rows: list[tuple[str, ...]] = [
      ('run', 'state', 'accuracy', 'best accuracy')]
  for run in runs:
    summary = summaries[run.name]
    figures = [f'{summary[figure]:.4f}' if summary else '-'
               for figure in FIGURES]
    rows.append((run.name, 'done' if summary else states[run.name], *figures))
  blocks = [_columns(rows)]
  settings: dict[str, list[dict | None]] = {}
  for run in runs:
    settings.setdefault(run.setting, []).append(summaries[run.name])
  if len(settings) < len(runs):
    blocks.append('Means and standard deviations over seeds:\n' + _columns([
        ('setting', 'done', 'accuracy', '+-', 'best accuracy', '+-'),
        *((setting, *_statistics(found)) for setting, found in settings.items())
    ]))
  return '\n\n'.join(blocks)


def _statistics(summaries):
  """Returns how many runs are done, then each figure's mean and deviation."""
  done = [summary for summary in summaries if summary]
  cells = [f'{len(done)} of {len(summaries)}']
  for figure in FIGURES:
    values = [summary[figure] for summary in done]
    cells.append(f'{statistics.mean(values):.4f}' if values else '-')
    # The seeds are a sample: divided by n - 1.
    cells.append(f'{statistics.stdev(values):.4f}' if len(values) > 1 else '-')
  return cells


def _columns(rows):
  widths = [max(map(len, column)) for column in zip(*rows)]
  return '\n'.join(
      '  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
      for row in rows)
