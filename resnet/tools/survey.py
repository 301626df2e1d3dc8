"""Prints what this machine would train with, as one line of JSON, in seconds.

  python -m resnet.tools.survey --config=cifar10_resnet20 --workdir=RUN

Takes the flags of `python -m resnet.train`. Joins no other worker, writes
nothing, and uses only as much GPU memory as it takes to see that the GPUs work.
Used by `python -m launch.doctor`, which does not import TensorFlow.

Fields: strategy, flags {name: text}, config {field: text}, global_batch,
workdir, versions {package: text}, code (a digest), devices [kind of each], data
{name, train, eval, digest}, and problems [sentence]; devices and data are null
if a problem says why.
"""
from collections.abc import Callable
import json
import os
import pathlib
from typing import Any, TypeVar

from absl import flags

from configs import combinations, schema
from configs.process import command_line, tensorflow_process
from configs.process.errors import UserError
from launch.cluster import contract
from pipelines import reading_flags
from resnet.execution import execution_flags, training_flags

# Flags that, like the config, must be the same on all workers.
_SHARED_FLAGS = ('virtual_devices', 'jit', 'deterministic', 'collectives',
                 'pack_mib')

_Answer = TypeVar('_Answer')

parse = training_flags.parse


def main(parsed: tuple[schema.Config, str, list[str]]) -> int:
  """Prints the line; returns the exit code."""
  config, recipe, others = parsed
  command_line.refuse(others)
  with tensorflow_process.starting():
    from resnet.run import run_folder, software

  os.environ.setdefault('TF_FORCE_GPU_ALLOW_GROWTH', 'true')
  workdir = training_flags.workdir(recipe).absolute()
  problems = []
  devices = _ask(problems, _devices)
  data = _ask(problems, lambda: _data(config, workdir, problems))
  _ask(problems, lambda: run_folder.check_usable(
      workdir, config, flags.FLAGS.extend))
  print(json.dumps({
      'strategy': flags.FLAGS.strategy,
      'flags': {name: str(flags.FLAGS[name].value) for name in _SHARED_FLAGS},
      'config': {path: repr(value)
                 for path, value in schema.plain_fields(config).items()},
      'global_batch': config.global_batch, 'workdir': os.fspath(workdir),
      'versions': software.versions(), 'code': software.code_digest(),
      'devices': devices, 'data': data, 'problems': problems}))
  return command_line.DONE


def _ask(problems: list[str],
         question: Callable[[], _Answer]) -> _Answer | None:
  """Returns the answer; None, after adding a problem, if it is a UserError."""
  try:
    return question()
  except UserError as error:
    problems.append(str(error))
    return None


def _devices() -> list[str]:
  """Returns the kind of device of each replica of this process."""
  import tensorflow as tf

  values = flags.FLAGS
  gpus = [tf.config.experimental.get_device_details(gpu).get(
      'device_name', 'GPU') for gpu in tf.config.list_physical_devices('GPU')]
  if values.strategy == contract.MULTI_WORKER:
    execution_flags.refuse_devices()
    return ['CPU'] * values.virtual_devices or gpus or ['CPU']
  names = execution_flags.make_strategy().extended.worker_devices
  kinds = [name.rpartition('/device:')[2].split(':') for name in names]
  return [gpus[int(index)] if kind == 'GPU' else kind for kind, index in kinds]


def _data(config: schema.Config, workdir: pathlib.Path,
          problems: list[str]) -> dict[str, Any]:
  """Returns name, sizes and digest of the data set.

  Adds a problem if the run in workdir began with other data.
  """
  from pipelines import identity, sources
  from resnet import plan
  from resnet.run import data_record

  # Nothing is decoded: the first images and the checksums of all are enough.
  train, evaluation = (
      sources.open_split(config.data, split, reading_flags.get(),
                         made=config.synthetic)
      for split in (config.data.train_split, config.data.eval_split))
  plan.check(config, train.size)
  combinations.check_images(config, *train.image_shape[:2])
  record = identity.record(train.identity, evaluation.identity)
  _ask(problems, lambda: data_record.check(workdir, record))
  return {'name': config.data.name, 'train': train.size,
          'eval': evaluation.size,
          'digest': sources.digest(train) + sources.digest(evaluation)}


def run() -> None:
  """Runs the survey as a program."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
