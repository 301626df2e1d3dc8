"""Which formats there are, what they need and how exact they are.

No TensorFlow: the flags of the program are checked before it is imported.
"""
from collections.abc import Sequence
import importlib.util
from typing import NamedTuple

from configs.process.errors import UserError
from resnet.reporting.unavailable import Unavailable

EXTRA = 'export'  # Of setup.cfg: what the formats below need.


class Format(NamedTuple):
  """A format of exports."""
  file: str  # Its name in the folder of the export; {} is the precision.
  precisions: tuple[str, ...] = ('float32',)
  packages: tuple[tuple[str, str], ...] = ()  # (module, name of the package).

  def path(self, precision: str) -> str:
    """Returns the name of the file of a precision."""
    return self.file.format('' if precision == 'float32' else f'_{precision}')


FORMATS = {
    'saved_model': Format('saved_model'),
    'keras': Format('model.keras'),
    'onnx': Format('model{}.onnx', packages=(
        ('tf2onnx', 'tf2onnx'), ('onnx', 'onnx'),
        ('onnxruntime', 'onnxruntime'))),
    'litert': Format('model{}.tflite', ('float32', 'float16'), packages=(
        ('ai_edge_litert', 'ai-edge-litert'),)),
}
PRECISIONS = ('float32', 'float16')
# The largest difference of logits from those of evaluation in float32, as a
# share of their range. A deep network with random weights takes the rounding of
# weights to 16 bits to 2e-2; a trained one, to 3e-4.
TOLERANCES = {'float32': 1e-4, 'float16': 5e-2}


def check(names: Sequence[str], precisions: Sequence[str]
          ) -> list[tuple[str, str]]:
  """Returns the (format, precision) of all files that are asked for.

  A format that has one precision alone is written in that one.

  Raises:
    UserError: a format or a precision is unknown.
    Unavailable: a package is missing that a format needs.
  """
  _check_known('format', names, list(FORMATS))
  _check_known('precision', precisions, PRECISIONS)
  for name in names:
    for module, package in FORMATS[name].packages:
      _check_package(name, module, package)
  files = [(name, precision) for name in FORMATS if name in names
           for precision in PRECISIONS
           if precision in _of(name, precisions)]
  return files


def _of(name, precisions):
  known = FORMATS[name].precisions
  return [p for p in precisions if p in known] or known[:1]


def _check_known(flag, given, known):
  unknown = [value for value in given if value not in known]
  if unknown or not given:
    raise UserError(
        f'--{flag}={",".join(given)} is not allowed: give some of '
        f'{",".join(known)}, separated by commas.')


def _check_package(name, module, package):
  try:
    found = importlib.util.find_spec(module) is not None
  except ValueError:  # None stands in sys.modules: it is not to be imported.
    found = False
  if not found:
    raise Unavailable(
        f'--format={name} needs {package}, which is not installed: run `pip '
        f"install -e '.[{EXTRA}]'` or `pip install {package}`, or leave {name} "
        'out.')
