"""Run folders with a checkpoint of random weights, made without training."""
import json
import pathlib

import numpy as np
import tensorflow as tf

from configs import schema
from pipelines import identity
from resnet import network
from resnet.run import checkpoint


def write(folder: pathlib.Path, config: schema.Config,
          record: dict, step: int = 7, seed: int = 0) -> pathlib.Path:
  """Writes the folder of a run.

  Weights, batch norm's statistics, and the mean and deviation of pixels are
  random, so that nothing cancels out.

  Args:
    folder: made.
    config: what was trained.
    record: of the data, see pipelines.identity.record.
    step: of the checkpoint.
    seed: of the weights.

  Returns:
    folder.
  """
  (folder / 'checkpoints').mkdir(parents=True)
  for name, values in (('config', schema.to_dict(config)), ('data', record)):
    (folder / f'{name}.json').write_text(json.dumps(values))
  rng = np.random.default_rng(seed)
  shape = tuple(record['image_shape'])
  center = shape if config.data.center == 'pixel' else shape[-1:]
  _, state = network.build_from(
      config, tf.distribute.get_strategy(), shape, len(record['classes']),
      rng.uniform(100, 150, center).astype(np.float32),
      rng.uniform(40, 80, shape[-1:]).astype(np.float32))
  for name, variable in state.paths.items():
    if name.startswith(('model/', 'average/')):
      spread = rng.uniform(0.5, 1.5, variable.shape)
      if name.endswith(('gamma', 'variance')):
        variable.assign(spread)
      elif len(variable.shape) == 1:
        variable.assign(spread - 1)
      else:
        variable.assign(variable * spread)
  state.step.assign(step)
  with checkpoint.Checkpoints(folder / 'checkpoints', state.paths, {
      'config': schema.to_dict(config)}) as checkpoints:
    checkpoints.save(step)
  return folder


def record(classes, image_shape) -> dict:
  """Returns a record of data that nobody reads."""
  split = identity.Identity(
      tuple(classes), tuple(image_shape), None, 1, '0' * 8)
  return identity.record(split, split)
