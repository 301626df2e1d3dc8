"""A trained network, from nothing but the folder of its run.

  trained = restore('runs/digits_resnet8', 'best')
  trained.model, trained.state, trained.classes
"""
from collections.abc import Iterator
import contextlib
import os
import pathlib
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from configs import schema
from configs.process import json_file
from configs.process.errors import UserError
from resnet import network
from resnet import state as state_lib
from resnet.run import (
  checkpoint,
  checkpoint_choice,
  checkpoint_name,
  data_record,
  extension,
  run_config,
  run_folder,
)


class Restored(NamedTuple):
  """A network with the weights of a checkpoint."""
  workdir: pathlib.Path
  step: int  # Updates that the weights have seen.
  config: schema.Config
  classes: tuple[str, ...]  # In the order of the logits.
  image_shape: tuple[int, ...]  # (h, w, c) of the images that are evaluated.
  model: keras.Model
  state: state_lib.State


def restore(workdir: str | os.PathLike, which: str = 'latest',
            strategy: tf.distribute.Strategy | None = None) -> Restored:
  """Builds the network of a run and restores a checkpoint into it.

  Args:
    workdir: the run folder.
    which: 'latest', 'best', or a step.
    strategy: the devices; None: TensorFlow's default.

  Raises:
    UserError: there is no such run or checkpoint, or it is damaged.
    TryAgain: it cannot be read now.
  """
  workdir = pathlib.Path(workdir).expanduser()
  checkpoint_name.check(which)
  config, data = read(workdir)
  step = checkpoint_choice.step(
      which, workdir, config.monitor.metric)
  shape = tuple(data['image_shape'])
  # The checkpoint holds the mean and deviation that the run trained with.
  model, state = network.build_from(
      config, strategy or tf.distribute.get_strategy(), shape,
      len(data['classes']), *no_statistics(config, shape))
  folder = workdir / run_folder.CHECKPOINTS
  step = checkpoint.Checkpoints(
      folder, state.paths, {'config': schema.to_dict(config)},
      earlier=extension.earlier(workdir)).restore(step, set_aside=False)
  if step is None:
    raise UserError(f'There is no checkpoint in {folder}: train first, with '
                    f'`python -m resnet.train --workdir={workdir}`.')
  return Restored(workdir, step, config, tuple(data['classes']), shape, model,
                  state)


def read(workdir: pathlib.Path) -> tuple[schema.Config, dict]:
  """Reads what a run trains, and the record of its data.

  Returns:
    (config, what pipelines.identity.record returned).

  Raises:
    UserError: there is no run, or a file of it is damaged.
    TryAgain: it cannot be read now.
  """
  with explained():
    config, data = run_config.read(workdir), data_record.read(workdir)
  if data is None:
    raise UserError(
        f'{workdir / data_record.FILE} is missing, so the names of the classes '
        'are not known: rerun the command that trained this run, which writes '
        'it anew, or restore it from a backup.')
  return config, data


@contextlib.contextmanager
def explained() -> Iterator[None]:
  """Says how to get back a file of a run that the block finds damaged.

  Raises:
    UserError: one is.
  """
  try:
    yield
  except json_file.Damaged as damage:
    raise UserError(
        f'{damage.path} is damaged ({damage.reason}): rerun the command that '
        'trained this run, which writes it anew, or restore it from a backup.'
    ) from damage


def no_statistics(config: schema.Config, shape: tuple[int, ...]
                  ) -> tuple[np.ndarray, np.ndarray]:
  """Returns a mean and a deviation that a checkpoint's will replace.

  Args:
    config: of the run.
    shape: (h, w, c) of its images.

  Returns:
    float32 [c], or [h, w, c] if each pixel has a mean; float32 [c].
  """
  mean_shape = shape if config.data.center == 'pixel' else shape[-1:]
  return np.zeros(mean_shape, np.float32), np.ones(shape[-1:], np.float32)
