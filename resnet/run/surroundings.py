"""What may change the last bits of a run and nothing else: run.json keeps it.

Results are the same bits only where these are the same. A run may go on where
they are not; that is said, not refused. `differences` needs no TensorFlow.
"""
from collections.abc import Mapping
import os
import pathlib
import platform
import re

from configs.process import numerics
from resnet.execution.options import Options

_VECTORS = re.compile('sse4.*|avx.*|amx.*|fma|f16c|asimd.*|sve.*|i8mm|bf16')
_CPUS = pathlib.Path('/proc/cpuinfo')
_LONG = 60  # Characters of a value of which only the changes are shown.


def of(options: Options, code: str) -> dict[str, str]:
  """Returns {name: value} of what this process computes with.

  Args:
    options: how the run executes.
    code: a digest of the source files.
  """
  import tensorflow as tf

  gpus = [tf.config.experimental.get_device_details(gpu).get(
      'device_name', 'unknown')
          for gpu in tf.config.list_physical_devices('GPU')]
  cpu, vectors = _cpu()
  return {
      'cpu': cpu, 'vector instructions': vectors,
      **({'gpus': ', '.join(gpus)} if gpus else {}),
      'threads': str(_threads()), 'source files': code[:12],
      **{f'--{name}': str(getattr(options, name)).lower()
         for name in ('jit', 'deterministic', 'collectives', 'pack_mib')},
      **numerics.variables(os.environ)}


def differences(before: Mapping[str, str],
                now: Mapping[str, str]) -> list[str]:
  """Returns 'name: before -> now' for everything that differs."""
  values = {name: (before.get(name, 'not set'), now.get(name, 'not set'))
            for name in [*before, *now]}
  return [f'{name}: {_change(*pair)}' for name, pair in values.items()
          if pair[0] != pair[1]]


def _change(before, now):
  if max(len(before), len(now)) <= _LONG:
    return f'{before} -> {now}'
  gone, new = ([word for word in one.split() if word not in other.split()]
               for one, other in ((before, now), (now, before)))
  changes = [f'{sign} {" ".join(words)}' for sign, words in (
      ('removed', gone), ('added', new)) if words]
  return ', '.join(changes) or 'the same words in another order'


def _threads():
  """Returns how many threads share one operation of TensorFlow on the CPU."""
  import tensorflow as tf

  given = os.environ.get('TF_NUM_INTRAOP_THREADS', '')
  return (tf.config.threading.get_intra_op_parallelism_threads()
          or (int(given) if given.isdecimal() else 0)
          or len(os.sched_getaffinity(0)))


def _cpu():
  """Returns (name of the first CPU, its vector instructions)."""
  try:
    lines = _CPUS.read_text(encoding='utf-8', errors='replace')
  except OSError:
    lines = ''
  first, _, _ = lines.partition('\n\n')
  pairs = [line.partition(':') for line in first.splitlines()]
  fields = {name.strip(): value.strip() for name, _, value in pairs}
  arm = [fields[name] for name in ('CPU implementer', 'CPU part')
         if name in fields]
  flags = fields.get('flags', fields.get('Features', '')).split()
  return (fields.get('model name') or ' '.join(arm) or platform.machine(),
          ' '.join(sorted(filter(_VECTORS.fullmatch, flags))))
