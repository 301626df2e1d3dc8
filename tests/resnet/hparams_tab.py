"""What TensorBoard's own backend shows of a folder in the HParams tab."""
from tensorboard import context
from tensorboard.backend.event_processing import (
  data_provider,
  plugin_event_multiplexer,
)
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import (
  api_pb2,
  backend_context,
  get_experiment,
  list_session_groups,
)

_STATUSES = [
    api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE,
    api_pb2.STATUS_RUNNING]


class Tab:
  """The HParams tab of `tensorboard --logdir folder`."""

  def __init__(self, folder):
    """Reads the folder; `groups` and `experiment` are the tab's protos."""
    multiplexer = plugin_event_multiplexer.EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(folder))
    backend = backend_context.Context(
        base_plugin.TBContext(data_provider=provider))
    asked = context.RequestContext(), backend, 'id'
    self.groups = list(list_session_groups.Handler(
        *asked, api_pb2.ListSessionGroupsRequest(
            allowed_statuses=_STATUSES, slice_size=100)).run().session_groups)
    self.experiment = get_experiment.Handler(
        *asked, api_pb2.GetExperimentRequest()).run()


def metrics(shown):
  """Returns {tag: value} of a session or a group."""
  return {metric.name.tag: metric.value for metric in shown.metric_values}


def settings(group):
  """Returns {name: value} of what the runs of a group have in common."""
  return {name: getattr(value, value.WhichOneof('kind'))
          for name, value in group.hparams.items()}
