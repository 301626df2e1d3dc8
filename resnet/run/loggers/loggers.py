"""Passes the records of a run on to metrics.csv and to services.

  with Loggers(folder, config, services=['wandb'], warn=print) as loggers:
    written = summaries.Summaries(folder, step, listeners=[loggers])
    ...
    loggers.close(End.FINISHED)
"""
from collections.abc import Callable, Mapping, Sequence
import os
import pathlib
import time
from typing import Any

from configs import schema
from resnet.run.loggers import packages
from resnet.run.loggers.memory import Memory
from resnet.run.loggers.mlflow_service import MLflow
from resnet.run.loggers.sender import Sender
from resnet.run.loggers.service import End, Run
from resnet.run.loggers.table import Table
from resnet.run.loggers.wandb_service import Wandb

_SERVICES = {'wandb': Wandb, 'mlflow': MLflow}
# To wait for them at the end, at most. A process that was asked to stop may be
# killed soon, and one that has failed is to be restarted.
_SECS = {End.FINISHED: 30.0, End.STOPPED: 10.0, End.FAILED: 5.0}


class Loggers:
  """The table of a run and its services of --log_to: a summaries.Listener."""

  def __init__(self, workdir: str | os.PathLike, config: schema.Config,
               services: Sequence[str], warn: Callable[[str], None]):
    """Does nothing yet.

    Args:
      workdir: path of the run folder.
      config: what is trained.
      services: of options.LOGGERS.
      warn: tells the user something.

    Raises:
      Unavailable: a package is missing.
    """
    packages.check(services)
    run = Run(pathlib.Path(workdir).resolve(), {
        name: value for name, value in schema.plain_fields(config).items()
        if name != 'code'})
    memory = Memory(workdir)
    self._senders = [
        Sender(name, _SERVICES[name](run), memory, warn)
        for name in dict.fromkeys(services)]
    self._listeners = [Table(workdir), *self._senders]

  def __enter__(self) -> 'Loggers':
    return self

  def __exit__(self, *_: Any) -> None:
    self.close(End.FAILED)

  def follow(self, records: list[dict[str, Any]]) -> None:
    """Starts from the records so far; see summaries.Listener."""
    for listener in self._listeners:
      listener.follow(records)

  def add(self, record: Mapping[str, Any]) -> None:
    """Takes a new record; see summaries.Listener."""
    for listener in self._listeners:
      listener.add(record)

  def close(self, end: End) -> None:
    """Ends the services. Only the first call has an effect."""
    senders, self._senders = self._senders, []
    latest = time.monotonic() + _SECS[end]
    for sender in senders:
      sender.end(end)
    for sender in senders:
      sender.wait(max(0.0, latest - time.monotonic()))
