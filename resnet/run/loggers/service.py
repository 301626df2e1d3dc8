"""The interface between a run and the services of --log_to."""
from collections.abc import Mapping
import enum
import pathlib
from typing import Any, NamedTuple, Protocol

from resnet.run.events import tags


class End(enum.Enum):
  """How a process of a run ends."""
  FINISHED = 'finished'
  STOPPED = 'stopped'  # It was asked to stop, and is to be started again.
  FAILED = 'failed'


class Run(NamedTuple):
  """A run, as it is described to services."""
  folder: pathlib.Path  # Absolute.
  settings: Mapping[str, Any]  # See schema.plain_fields.

  @property
  def name(self) -> str:
    """Returns the name of the run folder."""
    return self.folder.name


class Service(Protocol):
  """A service that keeps the figures of runs. One thread calls it.

  Whatever a method raises turns the service off.

  Attributes:
    known: what `Memory` has of it. It has the id once `begin` has returned, and
      no steps if the records up to them are gone.
    keeps_at_once: whether what was sent outlives a process that is killed.
  """
  known: dict[str, Any]
  keeps_at_once: bool

  def prepare(self) -> None:
    """Completes what is known before `begin`, if it can."""

  def begin(self) -> None:
    """Begins a run, or continues the one with the known id."""

  def send(self, record: Mapping[str, Any]) -> None:
    """Hands over a record."""

  def close(self, end: End) -> None:
    """Waits until all is kept. The run may be continued later."""


def figures(record: Mapping[str, Any]) -> dict[str, float]:
  """Returns {'quality/loss': number} of all figures of a record.

  Those of an evaluation end with _eval. So they stand beside those of training,
  in the same group: services make one of all that stands before the last slash.
  """
  end = '_eval' if record['split'] == 'eval' else ''
  return {f'{tags.tag(name)}{end}': value
          for name, value in record.items()
          if name not in ('split', 'step', 'time')}
