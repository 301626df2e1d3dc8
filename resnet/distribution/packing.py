"""Packs what the replicas sum in each step, so that it is one collective.

  packing = Packing.of(params, statistics, replicas=8)
  vectors = packing.pack(gradients, statistics, sums)  # Then summed.
  gradients, statistics, sums = packing.unpack(vectors)

Packing inside of the compiled functions costs two copies of the gradients, and
spares the host two thirds of its operations: 905 instead of 2,676 for each
replica and step of ResNet-50.
"""
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf


class Packing(NamedTuple):
  """The shapes of what is packed."""
  params: list[tf.TensorShape]
  statistics: list[tf.TensorShape]
  replicas: int
  precision: str  # That gradients are summed in.
  vector_size: int  # Most elements of a vector of gradients; 0: any.

  @classmethod
  def of(cls, params: Sequence[tf.Variable], statistics: Sequence[tf.Variable],
         *, replicas: int, precision: str = 'float32', pack_mib: int = 0
         ) -> 'Packing':
    """Returns the packing for a network.

    Args:
      params: float32, the gradients have their shapes.
      statistics: float32, batch norm's moving statistics.
      replicas: that sum, over all workers.
      precision: 'float32', 'bfloat16' or 'float16': what gradients are sent and
        summed in. All else stays float32, and then needs a collective of its
        own: counts and running averages do not survive 8 bits.
      pack_mib: the largest size of a vector of gradients; 0: any.
    """
    size = tf.dtypes.as_dtype(precision).size
    return cls([p.shape for p in params], [s.shape for s in statistics],
               replicas, precision, pack_mib * 2**20 // size)

  def pack(self, gradients: Sequence[tf.Tensor],
           statistics: Sequence[tf.Tensor], sums: tf.Tensor
           ) -> list[tf.Tensor]:
    """Returns vectors whose sums over replicas are what `unpack` takes.

    In Keras each replica has moving statistics of its own. Averaging them at
    every step keeps all state equal, so that any one copy is the checkpoint.

    Args:
      gradients: float32, like params.
      statistics: float32; their average over replicas is wanted.
      sums: float32 [k].
    """
    if self.replicas == 1:
      return [*gradients, *statistics, sums]
    averaged = [s / self.replicas for s in statistics]
    if self.precision == 'float32' and not self.vector_size:
      return [_flat([*gradients, *averaged, sums])]
    flat = _flat([tf.cast(g, self.precision) for g in gradients])
    return [*self._cut(flat), _flat([*averaged, sums])]

  def unpack(self, vectors: Sequence[tf.Tensor]
             ) -> tuple[list[tf.Tensor], list[tf.Tensor], tf.Tensor]:
    """Returns (gradients, statistics, sums), all float32, of summed vectors."""
    p, s = len(self.params), len(self.statistics)
    if self.replicas == 1:
      return list(vectors[:p]), list(vectors[p:p + s]), vectors[-1]
    if len(vectors) == 1:
      parts = _parts(vectors[0], self.params + self.statistics)
      return parts[:p], parts[p:p + s], parts[-1]
    flat = tf.cast(tf.concat(vectors[:-1], 0), tf.float32)
    *gradients, _ = _parts(flat, self.params)
    *statistics, sums = _parts(vectors[-1], self.statistics)
    return gradients, statistics, sums

  def _cut(self, flat):
    """Cuts a vector into parts of at most vector_size elements."""
    count, most = flat.shape[0], self.vector_size or flat.shape[0]
    return tf.split(flat, [
        min(most, count - start) for start in range(0, count, most)])


def _flat(tensors):
  return tf.concat([tf.reshape(t, [-1]) for t in tensors], 0)


def _parts(vector, shapes):
  """Cuts a vector into tensors of these shapes, and what is left of it."""
  sizes = [shape.num_elements() for shape in shapes]
  *parts, rest = tf.split(vector, [*sizes, vector.shape[0] - sum(sizes)])
  return [*(tf.reshape(part, shape)
            for part, shape in zip(parts, shapes, strict=True)), rest]
