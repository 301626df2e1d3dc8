"""What tells the data that a run trains on from other data of the same name.

Records of it are plain dicts, as they stand in JSON files:

  {'classes': [names, in order], 'image_shape': [h, w, c], 'version': TFDS's,
   'train': {'examples': int, 'digest': hex digits}, 'eval': {...}}
"""
from typing import Any, NamedTuple


class Identity(NamedTuple):
  """The identity of one split."""
  classes: tuple[str, ...]
  image_shape: tuple[int, ...]  # (h, w, c)
  version: str | None  # None: the data set has no versions.
  examples: int
  digest: str  # Of the content of all examples, in their order.


def record(train: Identity, evaluation: Identity) -> dict[str, Any]:
  """Returns the record of the two splits of a run, of one data set."""
  return {
      'classes': list(train.classes), 'image_shape': list(train.image_shape),
      'version': train.version,
      **{name: {'examples': split.examples, 'digest': split.digest}
         for name, split in (('train', train), ('eval', evaluation))}}
