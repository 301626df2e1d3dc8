"""The parts of a report, each of which is written by itself.

TensorFlow is imported by all parts but curves, matplotlib by curves alone.

  report = Report(runs, pathlib.Path('report'), Reading(), step=None)
  write('curves', report)
"""
from collections.abc import Callable, Sequence
import dataclasses
import functools
import pathlib
from typing import Any

from configs.process import atomic_file, errors
from pipelines.options import Reading
from resnet.reporting import runs as runs_lib


@dataclasses.dataclass
class Report:
  """What is reported, where to, and what has been written so far."""
  runs: Sequence[runs_lib.Run]
  folder: pathlib.Path  # Exists.
  reading: Reading  # How to read the training data.
  step: int | None  # Of the checkpoint; None: the newest.
  written: list[str] = dataclasses.field(default_factory=list)
  lines: list[str] = dataclasses.field(default_factory=list)  # To be printed.

  def save(self, name: str, content: bytes | str) -> None:
    """Writes a file of the report."""
    with errors.writing(self.folder / name):
      atomic_file.write(self.folder / name, content, durable=False)
    self.written.append(name)

  @functools.cached_property
  def data(self) -> dict[str, Any]:
    """The record of the run's data."""
    return runs_lib.data(self.runs[0])

  @functools.cached_property
  def model(self) -> Any:
    """The network of the run, without values."""
    from resnet.reporting import model_summary

    return model_summary.build(self.runs[0].config, self.data)


def write(name: str, report: Report) -> None:
  """Writes a part of a report.

  Args:
    name: one of NAMES; all but 'curves' are of the first run.
    report: takes the files and lines that are written.

  Raises:
    Unavailable: it needs what is not on this machine.
    UserError, TryAgain: it cannot be made.
  """
  _PARTS[name](report)


def _curves(report):
  from resnet.reporting import curves

  for name, draw in (('curves.png', curves.accuracy_and_loss),
                     ('error.png', curves.error)):
    report.save(name, curves.picture(draw(report.runs)))


def _model(report):
  from resnet.reporting import model_summary

  run = report.runs[0]
  shape = ' x '.join(map(str, report.data['image_shape']))
  report.save('model.txt', model_summary.text(
      report.model, f'{runs_lib.network(run.config)} of {run.path}, for images '
      f'of {shape} and {len(report.data["classes"])} classes'))
  weights, multiply_adds = model_summary.totals(report.model)
  report.lines.append(f'network     {weights:,} weights, {multiply_adds:,} '
                      'multiply-adds for an image')


def _weights(report):
  from resnet.reporting import weights_text
  from resnet.run import run_folder

  step = weights_text.write(
      report.folder / 'weights.txt',
      report.runs[0].path / run_folder.CHECKPOINTS, report.model, report.step)
  report.written.append('weights.txt')
  report.lines.append(f'weights     of the checkpoint of step {step}')


def _images(report):
  from resnet.reporting import first_images

  config = report.runs[0].config
  source = first_images.open_split(config, report.data, report.reading)
  report.save('first_images.png', first_images.draw(
      config, source, report.data['classes']))


_PARTS: dict[str, Callable[[Report], None]] = {
    'curves': _curves, 'model': _model, 'weights': _weights, 'images': _images}
NAMES = tuple(_PARTS)
