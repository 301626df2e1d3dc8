"""How much of what the machine can do a run uses."""
from collections.abc import Sequence
import contextlib

import keras
import tensorflow as tf

from configs import schema
from resnet.distribution.group import Group
from resnet.run.measures import flops


class MachineUse:
  """The floating-point operations of a run, and the peak of its devices."""

  def __init__(self, config: schema.Config, group: Group, model: keras.Model,
               image_shape: Sequence[int], total_steps: int):
    """Counts the operations. All workers must do so: they sum their peaks.

    Args:
      config: what is trained.
      group: the workers.
      model: the network.
      image_shape: (h, w, c) of the data.
      total_steps: updates of the run.
    """
    self._config, self._total_steps = config, total_steps
    self._of_image = {}
    with contextlib.suppress(Exception):  # A recipe's network may be anything.
      self._of_image = flops.by_size(
          config, model, image_shape, model.output_shape[-1])
    peaks = group.exchange([_local_peak(group, config.precision)])[:, 0]
    self._peak = peaks.sum() if peaks.all() else 0.0

  def figures(self, first: int, last: int, secs: float) -> dict[str, float]:
    """Returns {name: number} of the updates from one step to another.

    `flops_per_second`; and `flops_utilization`, the share of the peak, for GPUs
    whose peak is known.

    Args:
      first: step.
      last: a later step.
      secs: how long they took.
    """
    done = flops.of_steps(
        self._config, self._of_image, first, last, self._total_steps)
    if not done:
      return {}
    values = {'flops_per_second': done / secs}
    if self._peak:
      values['flops_utilization'] = done / secs / float(self._peak)
    return values


def local_gpus(devices: Sequence[str]) -> list[str]:
  """Returns the names of the GPUs among some devices of this process.

  Args:
    devices: of a strategy.
  """
  known = tf.config.list_physical_devices('GPU')
  if len(known) != len(tf.config.list_logical_devices('GPU')):
    return []  # Some are split.
  specs = map(tf.DeviceSpec.from_string, devices)
  return [tf.config.experimental.get_device_details(
      known[spec.device_index]).get('device_name', '')
          for spec in specs if spec.device_type == 'GPU']


def tf32_is_on() -> bool:
  """Returns whether TensorFlow computes float32 in TF32 where a GPU can."""
  return tf.config.experimental.tensor_float_32_execution_enabled()


def _local_peak(group, precision):
  """Returns the FLOP/s of this worker's devices together; 0: not known."""
  devices = group.strategy.extended.worker_devices
  peaks = [flops.peak(gpu, precision, tf32_is_on()) or 0.0
           for gpu in local_gpus(devices)]
  known = len(peaks) == len(devices) and all(peaks)
  return sum(peaks) if known else 0.0
