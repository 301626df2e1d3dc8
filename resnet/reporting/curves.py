"""Draws how runs went: accuracy, loss and error over epochs.

Training is dashed, evaluation is solid; each run has a color of its own. The
figures of training are means over the augmented images since the last log
point.

  png = picture(accuracy_and_loss(runs))

matplotlib draws them, without a display; it is imported when it is needed.
"""
from collections.abc import Sequence
import io
import math
from typing import Any, NamedTuple

from configs.process.errors import UserError
from resnet.reporting import runs as runs_lib
from resnet.reporting.runs import Run
from resnet.reporting.unavailable import Unavailable

_DASHES: dict[str, Any] = {'train': '--', 'eval': '-'}
_WORDS = {'train': 'training', 'eval': 'evaluation'}
_MOST_COLORS = 10  # Of matplotlib's cycle of colors that are easy to tell.


class Curve(NamedTuple):
  """One line of a picture."""
  run: int  # Number of the run.
  split: str  # 'train' or 'eval'.
  epochs: list[float]
  values: list[float]


def accuracy_and_loss(runs: Sequence[Run]) -> Any:
  """Returns the Figure of accuracy beside loss.

  Raises:
    UserError: there are no figures to draw, or runs have none in common.
    Unavailable: matplotlib is not installed.
  """
  found = {metric: of_metric(runs, metric) for metric in ('accuracy', 'loss')}
  check(runs, found)
  figure, axes = _figure(runs, 2)
  for (metric, lines), one in zip(found.items(), axes):
    _draw(one, lines, len(runs), metric)
  return figure


def error(runs: Sequence[Run]) -> Any:
  """Returns the Figure of the error, 1 - accuracy, in percent, as papers do.

  Raises:
    As accuracy_and_loss.
  """
  lines = [line._replace(values=[100 * (1 - value) for value in line.values])
           for line in of_metric(runs, 'accuracy')]
  check(runs, {'accuracy': lines})
  figure, (axes,) = _figure(runs, 1)
  _draw(axes, lines, len(runs), 'error (%)')
  axes.set_ylim(bottom=0)
  return figure


def picture(figure: Any) -> bytes:
  """Returns a Figure as PNG."""
  content = io.BytesIO()
  figure.savefig(content, format='png', dpi=150)
  return content.getvalue()


def of_metric(runs: Sequence[Run], metric: str) -> list[Curve]:
  """Returns a curve for each run and split that has values of a metric."""
  lines = []
  for number, run in enumerate(runs):
    for split in _DASHES:
      points = [(record['epoch'], record[metric])
                for record in runs_lib.of_split(run, split)
                if 'epoch' in record and math.isfinite(
                    record.get(metric, math.nan))]
      if points:
        lines.append(Curve(number, split, *map(list, zip(*points))))
  return lines


def check(runs: Sequence[Run], found: dict[str, list[Curve]]) -> None:
  """Checks that there is something to draw, and to compare.

  Args:
    runs: the runs.
    found: {metric: curves} of all metrics that are to be drawn.

  Raises:
    UserError: a run has no curve, or the runs have none in common.
  """
  having = [{(metric, line.split) for metric, lines in found.items()
             for line in lines if line.run == number}
            for number in range(len(runs))]
  for run, own in zip(runs, having):
    if not own:
      raise UserError(
          f'{run.path / runs_lib.METRICS} has no accuracy or loss to draw: '
          'train until the first log point, or leave curves out of --parts.')
  if not set.intersection(*having):
    raise UserError(
        'The runs have no curve in common ('
        + '; '.join(f'{run.path} has {_listed(own)}'
                    for run, own in zip(runs, having))
        + '): give runs that have been trained, or evaluated, alike.')


def _listed(own):
  return ' and '.join(sorted(
      f'{metric} of {_WORDS[split]}' for metric, split in own))


def _figure(runs, count):
  """Returns a Figure with a legend, and its `count` Axes side by side."""
  try:
    from matplotlib import figure as figures
  except ImportError as failure:
    raise Unavailable(
        f'The curves need matplotlib ({failure}): install it with '
        "`pip install 'resnet-trainer[report]'`.") from failure
  keys, width = _keys(runs), 1 + 5 * count
  longest = max(len(name) for name, _ in keys)
  columns = int(width / (0.7 + 0.09 * longest))
  columns = max(1, min(len(keys), columns))
  height = 4 + 0.22 * math.ceil(len(keys) / columns)
  figure = figures.Figure((width, height), layout='constrained')
  axes = [figure.add_subplot(1, count, i + 1) for i in range(count)]
  if len(runs) == 1:
    figure.suptitle(runs[0].name, parse_math=False)
  legend = figure.legend(
      [line for _, line in keys], [name for name, _ in keys], ncols=columns,
      loc='outside lower center')
  for text in legend.get_texts():
    text.set_parse_math(False)  # Names may contain $.
  return figure, axes


def _keys(runs):
  """Returns the (text, line) pairs of the legend."""
  from matplotlib import lines

  keys = [(word, lines.Line2D([], [], color='gray', linestyle=_DASHES[split]))
          for split, word in _WORDS.items()]
  if len(runs) > 1:
    for i, run in enumerate(runs):
      # matplotlib leaves out texts that begin with _.
      name = f' {run.name}' if run.name.startswith('_') else run.name
      keys.append((name, lines.Line2D([], [], color=_color(i, len(runs)))))
  return keys


def _draw(axes, lines, count, label):
  for line in lines:
    axes.plot(line.epochs, line.values, _DASHES[line.split],
              color=_color(line.run, count), linewidth=1.2,
              marker='.' if len(line.epochs) == 1 else None)
  axes.set_xlabel('epoch')
  axes.set_ylabel(label)
  axes.grid(alpha=0.3)


def _color(number, count):
  """Returns the color of a run among `count`."""
  import matplotlib

  if count <= _MOST_COLORS:
    return f'C{number}'
  return matplotlib.colormaps['turbo'](number / (count - 1))
