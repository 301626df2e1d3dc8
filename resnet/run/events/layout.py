"""The charts of TensorBoard's Custom Scalars tab: a run on one page.

Training and validation are lines of the same chart. TensorBoard merges the
charts of several runs by their titles.
"""
from collections.abc import Iterable, Iterator
import re
from typing import Any

from tensorboard.compat.proto import summary_pb2
from tensorboard.plugins.custom_scalar import layout_pb2, metadata
from tensorboard.util import tensor_util

from resnet.run.events import tags

# Pyright does not see the names that protocol buffers define at run time.
_Category = layout_pb2.Category  # pyright: ignore[reportAttributeAccessIssue]
_Chart = layout_pb2.Chart  # pyright: ignore[reportAttributeAccessIssue]
_Layout = layout_pb2.Layout  # pyright: ignore[reportAttributeAccessIssue]
_Lines = layout_pb2.MultilineChartContent  # pyright: ignore[reportAttributeAccessIssue]
_Summary = summary_pb2.Summary  # pyright: ignore[reportAttributeAccessIssue]

# What runs may lack, so that no chart of it would have a line.
ON_GPUS, FLOAT16, AVERAGED, TOP5 = 'on GPUs', 'float16', 'averaged', 'top-5'

# (group, title of the chart, names, what a run must have).
_CHARTS = (
    (tags.QUALITY, 'loss', ('loss',), None),
    (tags.QUALITY, 'accuracy', ('accuracy',), None),
    (tags.QUALITY, 'top-5 accuracy', ('top5_accuracy',), TOP5),
    (tags.OPTIMIZER, 'learning rate', ('learning_rate',), None),
    (tags.OPTIMIZER, 'norm of the gradient', ('gradient_norm',), None),
    (tags.OPTIMIZER, 'norm of the weights', ('weight_norm',), None),
    (tags.OPTIMIZER, 'update / weights', ('update_ratio',), None),
    (tags.OPTIMIZER, 'loss scale', ('loss_scale',), FLOAT16),
    (tags.OPTIMIZER, 'distance of the averaged weights', ('ema_distance',),
     AVERAGED),
    (tags.SPEED, 'images per second', ('images_per_second',), None),
    # A run has one color: more lines of it are hard to tell apart.
    (tags.SPEED, 'milliseconds per step: median, 99th percentile', (
        'step_milliseconds_median', 'step_milliseconds_p99'), None),
    (tags.SPEED, 'share of the training spent waiting for input', (
        'input_wait_fraction',), None),
    (tags.SPEED, 'share of the time spent evaluating', (
        'evaluation_fraction',), None),
    (tags.SPEED, 'share of the time spent saving', (
        'checkpoint_fraction',), None),
    (tags.SPEED, 'FLOP per second', ('flops_per_second',), None),
    (tags.SYSTEM, 'memory of the host in GiB', ('host_memory_gib',), None),
    (tags.SYSTEM, 'memory of the devices in GiB', (
        'device_memory_gib', 'device_memory_peak_gib'), ON_GPUS),
    (tags.SYSTEM, 'seconds of compiling', ('compile_secs',), None),
)


def summary(has: Iterable[str], own: Iterable[str] = ()) -> Any:
  """Returns the summary_pb2.Summary to write when a run starts.

  Args:
    has: which of ON_GPUS, FLOAT16, AVERAGED and TOP5 the run has.
    own: names of the recipe's own metrics.
  """
  charts = list(_charts({*has, None}, own))
  layout = _Layout(category=[
      _Category(title=group, chart=[
          _Chart(title=title, multiline=_Lines(
              tag=[f'^{re.escape(tags.tag(name))}$' for name in names]))
          for of_group, title, names in charts if of_group == group])
      for group in tags.GROUPS])
  return _Summary(value=[_Summary.Value(
      tag=metadata.CONFIG_SUMMARY_TAG,
      tensor=tensor_util.make_tensor_proto(layout.SerializeToString()),
      metadata=metadata.create_summary_metadata())])


def _charts(has, own) -> Iterator[tuple[str, str, tuple[str, ...]]]:
  """Yields (group, title, names), those of a group in order."""
  for group, title, names, needed in _CHARTS:
    if needed in has:
      yield group, title, names
  for name in own:
    yield tags.QUALITY, name, (name,)
