"""What every reader of weights returns, in the names of this project."""
from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np

from configs import schema


@dataclasses.dataclass(frozen=True)
class Source:
  """The weights of a file or of a run.

  Attributes:
    name: what they are, for the user: 'run runs/r50, step 400'.
    values: {variable path: array} of a network of this project.
    digest: hex digits, SHA-256 of the bytes that were read; '': not known yet.
    network: fields of config.model that the weights were trained with, as far
      as they are known. Those that change what the network computes must agree,
      since not all of them show in names and shapes.
    mean: subtracted from images, float32 [c] or [h, w, c], on a scale of 0 to
      255, in the order red, green, blue. None: not known.
    stddev: divides images, float32 [c]. None: not known.
    classes: names of the classes, in order. None: not known.
    tensors: of a run: all that its checkpoint holds, by name; see state.py.
    config: of a run: what it trained.
  """
  name: str
  values: Mapping[str, np.ndarray]
  digest: str = ''
  network: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  mean: np.ndarray | None = None
  stddev: np.ndarray | None = None
  classes: Sequence[str] | None = None
  tensors: Mapping[str, np.ndarray | bytes] | None = None
  config: schema.Config | None = None

  @property
  def step(self) -> int | None:
    """Updates that a run has done; None: it is a file."""
    return None if self.tensors is None else int(self.tensors['step'])
