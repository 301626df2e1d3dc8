"""The pictures that a run writes for TensorBoard.

  pictures/input      train: the first images, as the network gets them
  pictures/confusion  eval: labels down, predictions across, shares of the label
  pictures/worst      eval: the examples with the largest loss

Pictures of at most 100 evaluations are written: 0.6 MB each for photographs in
1,000 classes, 0.07 MB for CIFAR-10. A picture that cannot be drawn is a
warning; events that cannot be written are an error.
"""
from collections.abc import Callable, Iterator
import io
import math
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from tensorboard.compat.proto import summary_pb2
from tensorboard.plugins.image import metadata
from tensorboard.util import tensor_util

from configs.process.errors import printable
from resnet import plan
from resnet.evaluation import charts, examples, seen
from resnet.reporting import picture_sheet
from resnet.run.events import input_pictures

CELL = 128  # Pixels a side of an image on a sheet, at most.
_MOST_DRAWN = 100  # Evaluations.
_MOST_BYTES = 2**26  # Of images that are read together.

# Pyright does not see the names that protocol buffers define at run time.
_Summary = summary_pb2.Summary  # pyright: ignore[reportAttributeAccessIssue]


class Picture(NamedTuple):
  """A picture and its description, which TensorBoard shows beside it."""
  name: str  # The tag without 'pictures/'.
  png: bytes
  description: str


def write_input(run: Any, source: Any) -> None:
  """Writes the first images of a run that begins, with their labels.

  Only the chief draws, on its host. They belong to step 1, so that a run that
  is killed before its first checkpoint replaces them when it starts again.

  Args:
    run: the session.Session.
    source: the training split.
  """
  if not run.step and run.group.is_chief:
    _write(run, 'train', 1, lambda: _input(run, source))


def write_evaluated(run: Any) -> None:
  """Writes what the evaluation of this step got wrong.

  All workers must call it: what they saw is put together. Of a run with many
  evaluations, every second or third is drawn; the last one always.

  Args:
    run: the session.Session, after an evaluation.
  """
  if not is_drawn(run.evals, run.step, run.total_steps, run.is_last):
    return
  found = run.evaluate.seen()
  if run.group.is_chief:
    _write(run, 'eval', run.step,
           lambda: _evaluated(found, run.evaluate.source))


def is_drawn(evals: plan.Every, step: int, total_steps: int,
             is_last: bool) -> bool:
  """Returns whether the pictures of an evaluation are drawn.

  Args:
    evals: when evaluations are due.
    step: of this one.
    total_steps: updates of the run.
    is_last: whether the run ends at this step.
  """
  if is_last or not evals.period:
    return True
  nth = math.ceil(total_steps / evals.period / _MOST_DRAWN)
  return plan.Every(evals.period * nth).due(step)


def summary(picture: Picture) -> Any:
  """Returns the summary_pb2.Summary that TensorBoard's image plugin shows."""
  with Image.open(io.BytesIO(picture.png)) as opened:
    sides = [str(side).encode() for side in opened.size]
  result = _Summary()
  result.value.add(
      tag=f'pictures/{picture.name}',
      metadata=metadata.create_summary_metadata(None, picture.description),
      tensor=tensor_util.make_tensor_proto(np.array([*sides, picture.png],
                                                    object)))
  return result


def _write(run, split: str, step: int,
           draw: Callable[[], Iterator[Picture]]) -> None:
  """Writes what `draw` returns; warns, once in a run, if it cannot draw."""
  try:
    summaries = [summary(picture) for picture in draw()]
  except Exception as error:  # Whatever it is, training goes on.
    if not run.warned_of_pictures:
      run.warned_of_pictures = True
      run.bar.say(printable(
          f'warning: the pictures of step {step} could not be drawn, so that '
          'TensorBoard does not show them; training goes on '
          f'({type(error).__name__}: {error})'))
    return
  for one in summaries:
    run.written.write_summary(split, step, one)


def _input(run, source) -> Iterator[Picture]:
  """Yields the sheet of the first images, unless all are skipped as bad."""
  found = input_pictures.first(
      run.config, source, run.state.mean.numpy(), _MOST_BYTES)
  if found:
    yield Picture('input', picture_sheet.png(
        [image.pixels for image in found],
        _input_captions(found, source.identity.classes), CELL),
        f'The first {len(found)} images of the run as the network gets them, '
        'after augmentation and before standardization, with their labels. A '
        'mixed image has the shares of its two labels.')


def _input_captions(found, names):
  """Returns a line for each image; two for each if some are mixed."""
  if all(len(image.shares) == 1 for image in found):
    return [_lines(names[image.shares[0][0]]) for image in found]
  captions = []
  for image in found:
    lines = [f'{names[label]} ({share:.2f})' for label, share in image.shares]
    captions.append(_lines(*lines, *[''] * (2 - len(lines))))
  return captions


def _evaluated(found: seen.Seen, source: Any) -> Iterator[Picture]:
  """Yields the pictures of an evaluation."""
  names = source.identity.classes
  if found.confusion is not None:
    yield Picture('confusion', charts.confusion_png(
        found.confusion, list(map(printable, names)), charts.MOST_NAMED),
        'Labels down, predictions across. A cell is the darker, the larger its '
        'share of the evaluated examples of its label.')
  worst = found.worst
  if worst:
    yield Picture('worst', picture_sheet.png(
        _pixels(source, [one.index for one in worst]),
        [_lines(names[one.label],
                f'-> {names[one.predicted]} ({one.probability:.2f})',
                f'loss {one.loss:.3g}, #{one.index}') for one in worst], CELL),
        'The evaluated examples with the largest loss: label, prediction with '
        'its probability, loss in nats, and number in the evaluation split.')


def _pixels(source, index):
  """Yields the images of some examples, few enough of them in memory."""
  group = max(1, _MOST_BYTES // math.prod(source.image_shape))
  for first in range(0, len(index), group):
    yield from examples.pictures(source, np.array(index[first:first + group]))


def _lines(*lines):
  return '\n'.join(map(printable, lines))
