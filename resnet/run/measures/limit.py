"""What limits training: the input, or all else. Needs no TensorFlow."""
from collections.abc import Mapping, Sequence
import statistics
from typing import Any

WAIT = 0.1  # Share of the time from which on the input limits training.
_UNITS = (('TFLOP/s', 1e12), ('GFLOP/s', 1e9), ('MFLOP/s', 1e6))


def text(records: Sequence[Mapping[str, Any]]) -> str | None:
  """Returns what limits training, with the number that shows it, or None.

  'compute' is all of a step but waiting for input: kernels, sums over devices,
  and the host that starts them.

  Args:
    records: of the training split, oldest first; see summaries.
  """
  timed = [r for r in records if 'step_milliseconds' in r]
  words = []
  waited = _waited(timed)
  if waited:  # Under --deterministic and on one core it is not measured.
    bound = 'input' if waited > WAIT else 'compute'
    words.append(f'{bound}-bound: {waited:.1%} of the training time waiting '
                 'for input')
  rate = rate_text(**rates(timed))
  return '; '.join([*words, *[rate] * bool(rate)]) or None


def rates(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
  """Returns the medians of the figures of machine_use.MachineUse."""
  found = {name: [r[name] for r in records if name in r]
           for name in ('flops_per_second', 'flops_utilization')}
  return {name: statistics.median(values)
          for name, values in found.items() if values}


def rate_text(flops_per_second: float = 0.0,
              flops_utilization: float | None = None) -> str:
  """Returns '41 TFLOP/s, 33.1% of the peak', say; '' without a rate."""
  share = ('' if flops_utilization is None
           else f', {flops_utilization:.1%} of the peak')
  return _rate(flops_per_second) + share if flops_per_second else ''


def _rate(flops_per_second):
  """Returns '41 GFLOP/s', say, with two digits at least."""
  unit, size = next(
      (one for one in _UNITS if flops_per_second >= one[1]), _UNITS[-1])
  number = flops_per_second / size
  return f'{number:.1f} {unit}' if number < 10 else f'{number:.0f} {unit}'


def _waited(timed):
  """Returns the share of the time of some records that went into waiting."""
  before, waited, total = 0, 0.0, 0.0
  for record in timed:
    secs = record['step_milliseconds'] * (record['step'] - before)
    waited += secs * record['input_wait_fraction']
    total += secs
    before = record['step']
  return waited / max(total, 1e-9)
