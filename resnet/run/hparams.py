"""What TensorBoard's tab HParams reads of a run, as summaries of its plugin.

A run is a session. It stands beside the evaluations, whose last values are then
its metrics, under --logdir of the run as well as of the folder around several.
Nothing is said of the experiment as a whole: TensorBoard then finds out which
settings differ between the runs, and shows these first.
"""
import hashlib
import json

from tensorboard.compat.proto import summary_pb2
from tensorboard.plugins.hparams import (
  api_pb2,
  metadata,
  plugin_data_pb2,
  summary_v2,
)

_SEED = 'seed'


def start(settings, secs):
  """The summary that a run begins with.

  Runs that differ in their seed alone are a session group, one line of the tab,
  with the means of their metrics.

  Args:
    settings: {name: bool, number, str or tuple of numbers}.
    secs: Unix time, seconds.
  """
  values = {
      name: ','.join(map(str, value)) if isinstance(value, tuple) else value
      for name, value in settings.items() if name != _SEED}
  text = json.dumps(values, sort_keys=True)
  group = hashlib.sha256(text.encode()).hexdigest()[:8]
  return summary_v2.hparams_pb(values, trial_id=group, start_time_secs=secs)


def success(secs):
  """The summary that a run ends with which has come to its last step.

  One that was stopped writes none: TensorBoard keeps the first that it sees.

  Args:
    secs: Unix time, seconds.
  """
  content = plugin_data_pb2.HParamsPluginData(
      session_end_info=plugin_data_pb2.SessionEndInfo(
          status=api_pb2.STATUS_SUCCESS, end_time_secs=secs))
  return summary_pb2.Summary(value=[summary_pb2.Summary.Value(
      tag=metadata.SESSION_END_INFO_TAG, tensor=metadata.NULL_TENSOR,
      metadata=metadata.create_summary_metadata(content))])
