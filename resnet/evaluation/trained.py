"""Opens a run for evaluation: its network, and a split with its classes."""
import dataclasses
import os
import pathlib
from typing import NamedTuple

import keras
import tensorflow as tf

from configs import schema
from configs.process import command_line, json_file
from configs.process.errors import UserError
from pipelines import identity, sources, tfds_name
from pipelines.options import Reading
from resnet import network
from resnet import state as state_lib
from resnet.evaluation import averaging
from resnet.inference import restored
from resnet.run import (
  checkpoint,
  checkpoint_choice,
  checkpoint_name,
  data_record,
  description,
  extension,
  run_folder,
)

_EMBEDDED = ('digits', 'synthetic')


class Trained(NamedTuple):
  """A network with weights, and the split to evaluate it on."""
  workdir: pathlib.Path
  config: schema.Config  # Of the run, but with the data that are evaluated.
  split: str
  source: sources.Source
  classes: tuple[str, ...]
  steps: list[int]  # Of the checkpoints; of several, the weights are the mean.
  model: keras.Model
  state: state_lib.State


def open_run(workdir: str | os.PathLike, strategy: tf.distribute.Strategy, *,
             which: str = 'latest', data: str | None = None,
             split: str | None = None, reading: Reading | None = None,
             flip: bool | None = None, average: int = 0) -> Trained:
  """Reads the weights of a run, and opens a split.

  Args:
    workdir: the run folder.
    strategy: the devices.
    which: the checkpoint: 'latest', 'best', or a step.
    data: name of a data set; None: the run's.
    split: None: the run's evaluation split.
    reading: how to read the data; None: as by default. The data_dir is the
      run's own unless this gives another.
    flip: replaces config.data.eval_flip; None: does not.
    average: how many checkpoints to average, up to `which`; 0: none.

  Raises:
    UserError: there is no such run, checkpoint or data set, or the data have
      other classes or images of another shape.
    TryAgain: something cannot be read now.
  """
  workdir = pathlib.Path(workdir).expanduser()
  checkpoint_name.check(which)
  with restored.explained():
    own = run_folder.read_config(workdir)
  step = checkpoint_choice.step(which, workdir, own.monitor.metric)
  config = _evaluated(own, data, flip)
  split = split or own.data.eval_split
  reading = reading or Reading()
  if reading.data_dir is None:
    reading = reading._replace(
        data_dir=description.read(workdir).get('data_dir'))
  source = sources.load(config.data, split, reading, made=config.synthetic)
  _check_data(workdir, own, data, split, source)
  model, state = network.build_from(
      own, strategy, source.image_shape, source.num_classes,
      *restored.no_statistics(own, source.image_shape))
  folder = workdir / run_folder.CHECKPOINTS
  found = checkpoint.Checkpoints(
      folder, state.paths, {'config': schema.to_dict(own)},
      earlier=extension.earlier(workdir, None))
  step = found.restore(step, set_aside=False)
  if step is None:
    raise UserError(f'There is no checkpoint in {folder}: train first, with '
                    f'`python -m resnet.train --workdir={workdir}`.')
  steps = [step]
  if average:
    steps = averaging.newest(found.steps(), step, average)
    averaging.assign_mean(found, steps, state.paths)
  return Trained(workdir, config, split, source, source.identity.classes,
                 steps, model, state)


def _evaluated(config, data, flip):
  """Returns a config with the data that are evaluated in place of its own."""
  changes = {}
  if data is not None:
    if data not in _EMBEDDED:
      tfds_name.check(data, '--data')
    changes['name'] = data
  if flip is not None:
    changes['eval_flip'] = flip
  return dataclasses.replace(
      config, data=dataclasses.replace(config.data, **changes))


def _check_data(workdir, config, data, split, source):
  """Checks that a split is of the classes that the run was trained on.

  Any split can be evaluated. A split of the run that has changed since is only
  warned of.

  Raises:
    UserError: the classes or the shape of images differ.
  """
  now = identity.record(source.identity, source.identity)
  try:
    before = data_record.read(workdir)
  except json_file.Damaged as damage:
    command_line.warn(f'{damage.path} is damaged ({damage.reason}): the data '
                      'are not compared with those of the run.')
    return
  if before is None:
    return
  differences = data_record.model_differences(before, now)
  if differences and data is not None:
    raise UserError(
        f'--data={data} does not fit the run in --workdir={workdir} '
        f'({"; ".join(differences)}): give a data set with the classes and the '
        'image shape of the run.')
  if differences:
    raise UserError(
        f'--workdir={workdir} holds a run on other data '
        f'({"; ".join(differences)}): give the --data_dir that it was trained '
        'with, or restore the data.')
  if data is not None:
    return
  for name, own in (('train', config.data.train_split),
                    ('eval', config.data.eval_split)):
    changed = data_record.split_difference(name, before, now)
    if changed and split == own:
      command_line.warn(f'the data have changed since the run ({changed}).')
