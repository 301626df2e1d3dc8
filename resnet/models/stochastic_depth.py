"""Stochastic depth (Huang et al. 2016, arXiv:1603.09382) for each example."""
from collections.abc import Callable, Iterator
import functools

import keras

from resnet.models.dropout import Dropout


class StochasticDepth(Dropout):
  """Dropout that keeps or drops all of an example.

  What is kept while training is divided by the probability of being kept, so
  that evaluation changes nothing; the paper multiplies at evaluation instead.
  """

  def mask_shape(self, x) -> tuple[int, ...]:
    """Returns the shape of an example's mask: one number, to be broadcast."""
    return (1,) * (len(x.shape) - 1)


def skips(last_rate: float, count: int, draw: Callable | None,
          position: keras.KerasTensor | None, dtype: str
          ) -> Iterator[Callable[[keras.KerasTensor, str], keras.KerasTensor]]:
  """Yields what may skip each of `count` blocks: (tensor, name) -> tensor.

  Args:
    last_rate: probability of skipping the last block; that of block l, counted
      from 1, is last_rate * l / count. 0: no block has a layer for it.
    count: of the blocks.
    draw: see Dropout; the salt is l.
    position: int64 [b].
    dtype: Keras dtype policy.
  """
  for number in range(1, count + 1):
    yield functools.partial(
        _skip, last_rate * number / count, draw, number, position, dtype)


def _skip(rate, draw, salt, position, dtype, x, name):
  if not rate:
    return x
  return StochasticDepth(rate, draw, salt, dtype=dtype, name=name)(x, position)
