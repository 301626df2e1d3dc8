"""What an evaluation in depth prints: one screen."""
from collections.abc import Mapping
from typing import Any

from configs.process.errors import printable
from resnet.evaluation import temperature
from resnet.run.screen import report

_WORST, _PAIRS = 5, 5
_WIDEST = 30  # Characters of a name.
_NO_SUMS = ('step', 'checkpoints', 'data', 'split', 'ece', 'details',
            'temperature', 'folder', 'written')


def line(found: Mapping[str, Any], flip: bool | None) -> str:
  """Returns what was evaluated, and its loss and accuracy.

  Args:
    found: what evaluation.evaluate returned.
    flip: what it was given.
  """
  steps = found['checkpoints']
  words = (f'step {steps[0]}' if len(steps) == 1 else
           f'mean of steps {", ".join(map(str, steps))}')
  mirrored = {None: '', True: ', mirror images averaged,',
              False: ', no mirror images,'}[flip]
  values = {name: value for name, value in found.items()
            if name not in _NO_SUMS}
  return (f'{words}{mirrored} on {found["data"]} {found["split"]}: '
          f'{report.values_text(values)}')


def text(found: Mapping[str, Any]) -> str:
  """Returns the lines below that one.

  Args:
    found: what evaluation.evaluate returned, with details.
  """
  details = found['details']
  lines = [
      f'classes       mean accuracy {details["mean_class_accuracy"]:.4f}, each '
      'class counted the same',
      f'calibration   ECE {details["ece"]:.4f} in '
      f'{len(details["calibration"])} bins; mean confidence '
      f'{details["confidence"]:.4f}']
  if 'temperature' in found:
    lines.append(_temperature(found['temperature']))
  wrong = [one for one in details['classes']
           if one['correct'] < one['examples']]
  worst = sorted(wrong, key=lambda one: (one['recall'], one['label']))[:_WORST]
  lines += _table('worst classes', [
      (_short(one['class']), f'accuracy {one["accuracy"]:.4f}',
       'precision ' + _share(one['precision']), f'{one["examples"]} examples')
      for one in worst] or [('none: all examples are predicted right',)])
  lines += _table('most confused', [
      (f'{_short(one["label"])} taken for {_short(one["predicted"])}',
       f'{one["examples"]} of {one["of"]}')
      for one in details['confused'][:_PAIRS]] or [('none',)])
  lines.append(f'written       {", ".join(found["written"])} in '
               f'{found["folder"]}')
  return '\n'.join(lines)


def _temperature(values):
  line = (f'temperature   {values["temperature"]:.4g}, fitted on these examples'
          f' ({values["fitted_on"]}): ECE {values["ece_before"]:.4f} -> '
          f'{values["ece_after"]:.4f}, loss {values["loss_before"]:.4f} -> '
          f'{values["loss_after"]:.4f}')
  if values['at_bound']:
    line += (f' (the loss still falls there: {temperature.LOWEST:g} to '
             f'{temperature.HIGHEST:g} are tried)')
  return line


def _table(title, rows):
  """Returns rows in columns; the title is before the first."""
  widths = [max(map(len, column)) for column in zip(*rows)]
  return [f'{title if not number else "":13} ' + '  '.join(
      cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
          for number, row in enumerate(rows)]


def _share(value):
  return '-' if value is None else f'{value:.4f}'


def _short(name):
  name = printable(name)
  return name if len(name) <= _WIDEST else name[:_WIDEST - 1] + '…'
