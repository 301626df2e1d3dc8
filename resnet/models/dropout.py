"""Dropout that does not depend on the hardware."""
from collections.abc import Callable

import keras


class Dropout(keras.layers.Layer):
  """Dropout whose mask is a function of each example's position in the run."""

  def __init__(self, rate: float, draw: Callable, salt: int, **kwargs):
    """Makes the layer.

    Args:
      rate: share of the elements to drop, in [0, 1).
      draw: (position int64 [b], salt, shape) -> float32 [b, *shape] in [0, 1),
        a pure function.
      salt: tells the dropouts of a model apart.
      **kwargs: those of keras.layers.Layer.
    """
    super().__init__(**kwargs)
    self.rate = rate
    self.draw = draw
    self.salt = salt

  def call(self, x, position, training: bool | None = None):
    """Drops elements while training; returns x unchanged otherwise.

    Args:
      x: float [b, ...].
      position: int64 [b].
      training: whether to drop.

    Returns:
      Like x: x / (1 - rate) where draw(position, salt, mask_shape(x)) is at
      least the rate, 0 elsewhere.
    """
    if not training:
      return x
    keep = self.draw(position, self.salt, self.mask_shape(x)) >= self.rate
    return keras.ops.where(keep, x / (1 - self.rate), keras.ops.zeros_like(x))

  def mask_shape(self, x) -> tuple[int, ...]:
    """Returns the shape of an example's mask: a number for each element."""
    return tuple(x.shape[1:])

  def compute_output_shape(self, x_shape, position_shape):
    """Returns the shape of x."""
    del position_shape
    return x_shape
