"""The lines that say what a run is, before its first step."""
from collections.abc import Mapping
import os
from typing import Any

from configs import schema
from resnet.run.screen import columns

# The flag's words for TensorFlow's classes.
_STRATEGIES = {'OneDeviceStrategy': 'one_device',
               'MirroredStrategy': 'mirrored',
               'CollectiveAllReduceStrategy': 'multi_worker_mirrored',
               'MultiWorkerMirroredStrategy': 'multi_worker_mirrored'}
_MOST_NAMED = 8  # Devices; of more, only the first and the last are named.


def text(config: schema.Config, data: Mapping[str, Any],
         replicas: Mapping[str, Any], counts: tuple[int, int | None], *,
         strategy: str, epochs: float, step: int, total_steps: int,
         path: str | os.PathLike) -> str:
  """Returns what is trained on what, from which step, and where it is kept.

  Args:
    config: what is trained.
    data: record of the data, see pipelines.identity.record.
    replicas: what it is trained on, see report.replicas.
    counts: weights, and multiply-adds of an image; None: not known.
    strategy: of the devices, see `strategy_name`.
    epochs: of the run.
    step: updates done.
    total_steps: updates of the run.
    path: of the run folder.
  """
  count = replicas['workers'] * len(replicas['devices'])
  height, width, channels = data['image_shape']
  size = config.data.image_size
  shape = f'{size or height} x {size or width} x {channels}'
  begin = f'resuming at step {step} of' if step else 'training for'
  trained = 'trained ' * bool(config.finetune.frozen)
  products = '' if counts[1] is None else (
      f', {counts[1]:,} multiply-adds an image')
  return columns.text([
      ('network', f'{model_name(config)}: {counts[0]:,} {trained}weights'
                  f'{products}'),
      ('data', f'{config.data.name}: {data["train"]["examples"]:,} examples to '
               f'train on, {data["eval"]["examples"]:,} to evaluate'),
      ('images', f'{shape}, {len(data["classes"]):,} classes'),
      ('devices', f'{devices_text(replicas)}; {strategy}, {config.precision}'),
      ('batch', f'{config.global_batch:,}: {count} x '
                f'{config.global_batch // count} images per step'),
      ('length', f'{begin} {total_steps} steps ({epochs:.4g} epochs)'),
      ('run folder', path)])


def counts_of(model: Any) -> tuple[int, int | None]:
  """Returns (weights, multiply-adds of an image) of a Keras model.

  They are not known of a network for images of several sizes.
  """
  from resnet.reporting import model_summary

  try:
    return model_summary.totals(model)
  except TypeError:  # A size is None.
    return sum(weight.shape.num_elements()
               for weight in model.trainable_weights), None


def model_name(config: schema.Config) -> str:
  """Returns 'ResNet-50 v1.5', say."""
  if config.model.name != 'resnet':
    return config.model.name
  return f'ResNet-{config.model.depth} {config.model.version}'


def strategy_name(strategy: Any) -> str:
  """Returns what --strategy calls a strategy."""
  name = type(strategy).__name__
  return _STRATEGIES.get(name, name)


def devices_text(replicas: Mapping[str, Any]) -> str:
  """Returns the names of the devices, see report.replicas."""
  names, several = replicas['devices'], replicas['workers'] > 1
  if len(names) > _MOST_NAMED:
    names = [names[0], '...', names[-1]]
  return (', '.join(names)
          + f' of each of {replicas["workers"]} workers' * several)
