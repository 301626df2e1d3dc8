"""Shows which operations the time of some updates goes to, as text.

The time of an operation is that on the thread that ran it; operations of
several threads overlap, and one operation may use all cores. On GPUs it is the
time of the kernels.
"""
from collections.abc import Sequence
import re

from resnet.run.profiling.trace import Operation

_KINDS, _SINGLE, _TOP = 25, 15, 3  # Rows that are shown; types in one line.
# All that a step does is in the loop over the steps of a call.
_LOOPS = re.compile(r'\b(body/_\d+|while)/')


def text(operations: Sequence[Operation], steps: int, secs: float) -> str:
  """Returns the types of operations, and the largest single ones.

  Args:
    operations: of all steps, the longest first; see trace.parse.
    steps: updates that were recorded.
    secs: how long they took.
  """
  total = _total(operations)
  rows = kinds(operations)
  rest = rows[_KINDS:]
  if rest:
    rows[_KINDS:] = [(f'{len(rest)} other types', sum(row[1] for row in rest),
                      sum(row[2] for row in rest))]
  lines = [
      f'{steps} steps took {1000 * secs / steps:.1f} ms each under the '
      f'profiler; operations take {1000 * total / steps:.1f} ms of a step, '
      'summed over all threads',
      *_lines('by type', rows, steps, total),
      *_lines('the largest single operations', [
          (f'{_LOOPS.sub("", operation.name)}  {operation.kind}',
           operation.count, operation.secs)
          for operation in operations[:_SINGLE]], steps, total)]
  return ''.join(f'{line}\n' for line in lines)


def top(operations: Sequence[Operation]) -> str:
  """Returns the types that take most time, in one line."""
  total = _total(operations)
  return ', '.join(f'{kind} {secs / total:.0%}'
                   for kind, _, secs in kinds(operations)[:_TOP])


def kinds(operations: Sequence[Operation]) -> list[tuple[str, int, float]]:
  """Returns (type, count, seconds) of each type, the longest first."""
  found = {}
  for operation in operations:
    count, spent = found.get(operation.kind, (0, 0.0))
    found[operation.kind] = count + operation.count, spent + operation.secs
  return sorted(((kind, *sums) for kind, sums in found.items()),
                key=lambda row: -row[2])


def _total(operations):
  return max(sum(operation.secs for operation in operations), 1e-12)


def _lines(title, rows, steps, total):
  return [f'{"count a step":>12} {"ms a step":>10} {"share":>7}  {title}', *(
      f'{count / steps:12.1f} {1000 * secs / steps:10.3f} '
      f'{secs / total:7.1%}  {name}' for name, count, secs in rows)]
