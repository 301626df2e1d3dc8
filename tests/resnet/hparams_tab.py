"""What TensorBoard's own backend of the tab HParams shows of a folder."""
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
  """The tab of `tensorboard --logdir folder`."""

  def __init__(self, folder):
    """Reads what is there now; `groups` and `experiment` are its protos."""
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
  """{tag: value} of a session or a group."""
  return {metric.name.tag: metric.value for metric in shown.metric_values}


def settings(group):
  """{name: value} that a group has in common."""
  return {name: getattr(value, value.WhichOneof('kind'))
          for name, value in group.hparams.items()}
