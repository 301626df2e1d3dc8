"""What became of the runs of a sweep, as text."""
import statistics

_FIGURES = ('accuracy', 'best_accuracy')  # Of a run's summary, in run.json.


def text(runs, states):
  """A line for each run, then one for each setting with several seeds.

  Args:
    runs: list of sweep_runs.Run.
    states: {name: what to say of a run that is not finished}.
  """
  summaries = {run.name: run.summary() for run in runs}
  rows = [('run', 'state', 'accuracy', 'best')]
  for run in runs:
    summary = summaries[run.name]
    figures = [f'{summary[figure]:.4f}' if summary else '-'
               for figure in _FIGURES]
    rows.append((run.name, 'done' if summary else states[run.name], *figures))
  blocks = [_columns(rows)]
  settings = {}
  for run in runs:
    settings.setdefault(run.setting, []).append(summaries[run.name])
  if len(settings) < len(runs):
    blocks.append('Means and standard deviations over seeds:\n' + _columns([
        ('setting', 'done', 'accuracy', '+-', 'best', '+-'),
        *((setting, *_statistics(found)) for setting, found in settings.items())
    ]))
  return '\n\n'.join(blocks)


def _statistics(summaries):
  """How many runs are done, then mean and deviation of each figure."""
  done = [summary for summary in summaries if summary]
  cells = [f'{len(done)} of {len(summaries)}']
  for figure in _FIGURES:
    values = [summary[figure] for summary in done]
    cells.append(f'{statistics.mean(values):.4f}' if values else '-')
    # Of the seeds that could have been drawn: n - 1.
    cells.append(f'{statistics.stdev(values):.4f}' if len(values) > 1 else '-')
  return cells


def _columns(rows):
  widths = [max(map(len, column)) for column in zip(*rows)]
  return '\n'.join(
      '  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
      for row in rows)
