"""Draws the first images that a run is trained on, with their labels.

They are shown in the order of the run, from left to right, as evaluation sees
them: `python -m pipelines.show` draws what augmentation makes of them.
"""
from typing import Any

import tensorflow as tf

from configs import schema
from configs.process.errors import TryAgain, UserError
from pipelines import batches, identity, sources
from pipelines.options import Reading
from resnet.reporting import picture_sheet
from resnet.reporting.unavailable import Unavailable
from resnet.run import data_record

_ROWS = 4


def open_split(config: schema.Config, data: dict[str, Any],
               reading: Reading) -> sources.Source:
  """Opens the training split of a run, and decodes nothing.

  Args:
    config: of the run.
    data: the record of its data.
    reading: where the data are, and how to read them.

  Raises:
    Unavailable: they are not there, or they are not the run's.
  """
  try:
    source = sources.open_split(config.data, config.data.train_split,
                                reading, made=config.synthetic)
  except (UserError, TryAgain) as error:
    raise Unavailable(f'The first images need the training data: {error}'
                      ) from error
  now = identity.record(source.identity, source.identity)
  differences = data_record.model_differences(data, now) or [
      difference for difference in [
          data_record.split_difference('train', data, now)] if difference]
  if differences:
    raise Unavailable(
        f'The data of {config.data.name} are not those of the run '
        f'({"; ".join(differences)}): give the --data_dir that it was trained '
        'with.')
  return source


def draw(config: schema.Config, source: sources.Source,
         classes: list[str]) -> bytes:
  """Returns a PNG of the first images, a caption below each.

  Args:
    config: of the run.
    source: its training split.
    classes: the names of the classes, in the order of their labels.
  """
  count = min(_ROWS * picture_sheet.COLUMNS, source.size)
  try:
    batch = next(iter(batches.train(
        source, seed=config.seed, global_batch=count, first_step=0,
        last_step=1)))
  except tf.errors.OpError as error:
    raise source.explain(range(source.size)) or error from error
  images, labels = batch['image'].numpy(), batch['label'].numpy()
  return picture_sheet.png(
      images, [caption(classes, label) for label in labels])


def caption(classes: list[str], label: int) -> str:
  """Returns the label of an image, with the name of its class if it has one."""
  name = classes[label]
  return name if name == str(label) else f'{label}: {name}'
