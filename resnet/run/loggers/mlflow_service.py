"""MLflow: a run with the config as its parameters and the figures as metrics.

It is kept in files, in RUN/mlruns, unless MLFLOW_TRACKING_URI says where.
MLFLOW_EXPERIMENT_NAME names its experiment, `resnet` without it. A step that is
trained again after a kill has its figures twice, with the same values unless
they depend on the clock.
"""
from collections.abc import Mapping
import importlib
import os
from typing import Any

from resnet.run.loggers.service import End, figures, Run

_EXPERIMENT = 'resnet'
_LONGEST = 500  # Characters of a parameter that every version takes.
_AT_ONCE = 100  # Parameters in a request; servers take no more.
_STATUS = {End.FINISHED: 'FINISHED', End.STOPPED: 'KILLED',
           End.FAILED: 'FAILED'}
_ENVIRONMENT = {
    # Files do without a package for data bases, and without locks, which many
    # shared file systems lack. MLflow 3 asks for this if they are to be used.
    'MLFLOW_ALLOW_FILE_STORE': 'true',
    'MLFLOW_DISABLE_TELEMETRY': 'true',
    'MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT': 'true'}


class MLflow:
  """A service.Service."""
  keeps_at_once = True

  def __init__(self, run: Run):
    self._run, self.known = run, {}
    self._entities: Any = None
    self._client: Any = None

  def prepare(self) -> None:
    """Does nothing: MLflow gives the id. See service.Service."""

  def begin(self) -> None:
    """Begins a run, or continues it; see service.Service."""
    for name, value in _ENVIRONMENT.items():
      os.environ.setdefault(name, value)
    mlflow = importlib.import_module('mlflow')
    self._entities = importlib.import_module('mlflow.entities')
    self._client = mlflow.MlflowClient(
        os.environ.get('MLFLOW_TRACKING_URI')
        or (self._run.folder / 'mlruns').as_uri())
    there = 'id' in self.known and self._found()
    if not there:
      self.known = {'id': self._client.create_run(
          self._experiment(), run_name=self._run.name).info.run_id}
    self._client.update_run(self.known['id'], status='RUNNING')
    self._write_settings(there.data.params if there else {})

  def send(self, record: Mapping[str, Any]) -> None:
    """Hands over a record; see service.Service."""
    milliseconds = round(1000 * record['time'])
    self._client.log_batch(self.known['id'], metrics=[
        self._entities.Metric(name, value, milliseconds, record['step'])
        for name, value in figures(record).items()])

  def close(self, end: End) -> None:
    """Says how the run has ended; see service.Service."""
    self._client.set_terminated(self.known['id'], _STATUS[end])

  def _found(self):
    """Returns the run with the known id; None if it is gone."""
    try:
      return self._client.get_run(self.known['id'])
    except Exception as error:
      if getattr(error, 'error_code', '') == 'RESOURCE_DOES_NOT_EXIST':
        return None
      raise

  def _experiment(self):
    name = os.environ.get('MLFLOW_EXPERIMENT_NAME') or _EXPERIMENT
    there = self._client.get_experiment_by_name(name)
    return (there.experiment_id if there
            else self._client.create_experiment(name))

  def _write_settings(self, there):
    """Writes the config. A parameter cannot change: a tag has its new value."""
    tags = {'run_folder': str(self._run.folder)}
    new = []
    for name, value in self._run.settings.items():
      text = str(value)[:_LONGEST]
      if name not in there:
        new.append(self._entities.Param(name, text))
      elif there[name] != text:
        tags[f'extended.{name}'] = text
    for first in range(0, len(new), _AT_ONCE):
      self._client.log_batch(
          self.known['id'], params=new[first:first + _AT_ONCE])
    for name, text in tags.items():
      self._client.set_tag(self.known['id'], name, text)
