"""The parts of the benchmark, in the order in which they are measured."""
from collections.abc import Mapping
from typing import NamedTuple


class Part(NamedTuple):
  """One part."""
  module: str  # Its function `measure` takes a job.Job.
  share: float  # Of the time, relative to the parts that are still to come.
  title: str
  needs_tensorflow: bool = True
  environment: Mapping[str, str] = {}


_PACKAGE = 'resnet.tools.gpu'
DEVICES, DATA = 'devices', 'data'
PARTS = {
    DEVICES: Part(f'{_PACKAGE}.machine', 1, 'devices, driver, versions'),
    DATA: Part(f'{_PACKAGE}.synthetic', 1, 'pictures, made on the spot'),
    'steps': Part(f'{_PACKAGE}.step_speed', 5,
                  'training steps on a batch that never changes'),
    'loop': Part(f'{_PACKAGE}.real_loop', 9, 'the training loop as users run '
                 'it', needs_tensorflow=False),
    'input': Part(f'{_PACKAGE}.input_cap', 1, 'the input alone',
                  needs_tensorflow=False),
    'transfers': Part(f'{_PACKAGE}.transfers', 1,
                      'copies and sums over devices'),
    'compiling': Part(f'{_PACKAGE}.compiling', 2, 'compiling with XLA',
                      needs_tensorflow=False),
    'determinism': Part(f'{_PACKAGE}.determinism', 5,
                        'the same bits in every run', needs_tensorflow=False),
    # TensorFlow logs placements only at this level.
    'placement': Part(f'{_PACKAGE}.placement', 1,
                      'operations placed on the CPU',
                      environment={'TF_CPP_MIN_LOG_LEVEL': '0'}),
    'trace': Part(f'{_PACKAGE}.tracing', 1,
                  'where the time of a step goes'),
}
# What other parts start in processes of their own.
INNER = {
    'compile_once': Part(f'{_PACKAGE}.compile_once', 1, ''),
    'input_once': Part(f'{_PACKAGE}.input_once', 1, ''),
}
NAMES = tuple(PARTS)
# Always measured if they are needed, and not to be chosen.
CHOICES = tuple(name for name in NAMES if name not in (DEVICES, DATA))


def share(name: str, to_come: list[str]) -> float:
  """Returns the share of the time that is left that a part may take.

  Args:
    name: of the part.
    to_come: the part and all that follow.
  """
  return PARTS[name].share / sum(PARTS[one].share for one in to_come)
