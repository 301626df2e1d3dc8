"""What TensorBoard's HParams tab shows of a run, as summaries of its plugin.

A run is a session. It is written beside the evaluations, so that their last
values become its metrics, whether --logdir is the run or a folder of several.
The experiment as a whole is not described: TensorBoard then finds out which
settings differ between the runs, and shows these first.
"""
from collections.abc import Mapping
import hashlib
import json
from typing import Any

from tensorboard.compat.proto import summary_pb2
from tensorboard.plugins.hparams import (
  api_pb2,
  metadata,
  plugin_data_pb2,
  summary_v2,
)

RUN = 'run'
_SEED = 'seed'
# Pyright does not see the names that protocol buffers define at run time.
_PluginData = plugin_data_pb2.HParamsPluginData  # pyright: ignore[reportAttributeAccessIssue]
_SessionEndInfo = plugin_data_pb2.SessionEndInfo  # pyright: ignore[reportAttributeAccessIssue]
_STATUS_SUCCESS = api_pb2.STATUS_SUCCESS  # pyright: ignore[reportAttributeAccessIssue]
_Summary = summary_pb2.Summary  # pyright: ignore[reportAttributeAccessIssue]


def start(settings: Mapping[str, Any], secs: float, name: str) -> Any:
  """Returns the summary to write when a run starts.

  Runs that differ only in their seed form a session group: one line of the tab,
  with the means of their metrics and the name of one of them.

  Args:
    settings: {name: bool, number, str or tuple of numbers}.
    secs: Unix time in seconds.
    name: of the run: the setting RUN, which differs, so that it comes first.

  Returns:
    A summary_pb2.Summary.
  """
  values = {
      field: ','.join(map(str, value)) if isinstance(value, tuple) else value
      for field, value in settings.items() if field != _SEED}
  text = json.dumps(values, sort_keys=True)
  group = hashlib.sha256(text.encode()).hexdigest()[:8]
  return summary_v2.hparams_pb({RUN: name, **values}, trial_id=group,
                               start_time_secs=secs)


def success(secs: float) -> Any:
  """Returns the summary to write when a run has done its last step.

  A run that was stopped must not write one: TensorBoard keeps the first that it
  sees.

  Args:
    secs: Unix time in seconds.

  Returns:
    A summary_pb2.Summary.
  """
  content = _PluginData(session_end_info=_SessionEndInfo(
      status=_STATUS_SUCCESS, end_time_secs=secs))
  return _Summary(value=[_Summary.Value(
      tag=metadata.SESSION_END_INFO_TAG, tensor=metadata.NULL_TENSOR,
      metadata=metadata.create_summary_metadata(content))])
