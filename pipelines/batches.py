"""Batches of images, in an order that depends on (seed, step) and nothing else.

Training:
1. Take the positions of a replica's share of batch s (order.py).
2. Map positions to examples, with one permutation an epoch (order.py).
3. Read the examples; from disk, also decode and crop them (sources.py).
4. Prefetch.

Evaluation takes the examples in their order on disk and pads them to equal
batches on every replica; `weight` is 0 on padding.

A batch is {'image': uint8 [b, h, w, c], 'label': int32 [b], 'position': int64
[b], 'weight': float32 [b]}, always of one static shape. The stream has one
element for each local replica in turn, in rank order. Nothing here knows the
model or the strategy.

  batches = train(source, seed=0, global_batch=128, last_step=64_000,
                  first_step=900, share=Share(replicas=4, first=0, local=4))
"""
from typing import NamedTuple, Protocol

import tensorflow as tf

from pipelines import order
from pipelines.on_disk import Crop


class Readable(Protocol):
  """The part of a source that batches need; see sources.py for the whole."""

  @property
  def size(self) -> int:
    """Number of examples."""
    ...

  def read(self, indices: tf.data.Dataset,
           crop: Crop | None = None) -> tf.data.Dataset:
    """Turns indices into batches, in their order; see OnDisk.read."""
    ...


class Share(NamedTuple):
  """The replicas that this process feeds: `local` of them, from `first` on."""
  replicas: int  # Over all workers.
  first: int
  local: int


ALL = Share(replicas=1, first=0, local=1)


def train(source: Readable, *, seed: int, global_batch: int, first_step: int,
          last_step: int, share: Share = ALL, repeats: int = 1,
          crop: Crop | None = None) -> tf.data.Dataset:
  """Makes the training stream from step `first_step` to before `last_step`.

  Starting at any step costs the same: the stream is computed, not skipped.

  Args:
    source: the training split.
    seed: of the run, in [0, 2**32).
    global_batch: images per step over all replicas; divisible by their number.
    first_step: the step of the first batch.
    last_step: the stream ends before this step.
    share: the replicas to feed.
    repeats: how often an example occurs in its batch; divides global_batch.
    crop: cuts and resizes pictures from disk, see decoding.py; None: as in
      evaluation.

  Returns:
    Data set of batches, b = global_batch / share.replicas.
  """
  def index(positions):
    return {'example': train_examples(
                positions, size=source.size, seed=seed,
                global_batch=global_batch, repeats=repeats),
            'position': positions,
            'weight': tf.ones_like(positions, tf.float32)}

  indices = _indices(index, first_step, last_step, share, global_batch)
  return _prefetched(source.read(indices, crop), share)


def train_examples(positions: tf.Tensor, *, size: int, seed: int,
                   global_batch: int, repeats: int = 1) -> tf.Tensor:
  """Returns the examples, int64 [b], at `positions`, int64 [b]; see train."""
  distinct = order.distinct(
      positions, global_batch=global_batch, repeats=repeats)
  return order.examples(distinct, size=size, seed=seed)


def eval_batch(size: int, most: int, replicas: int) -> int:
  """Returns the images per replica and step that evaluate `size` examples.

  The steps are as few as batches of `most` images over all replicas allow, and
  all of one size, so that less than one image per replica and step is padding.
  """
  steps = eval_steps(size, -(-most // replicas), replicas)
  return -(-size // (steps * replicas))


def eval_steps(size: int, replica_batch: int, replicas: int) -> int:
  """Returns the steps that count `size` examples once, on every replica."""
  return -(-size // (replica_batch * replicas))


def evaluate(source: Readable, *, replica_batch: int,
             share: Share = ALL) -> tf.data.Dataset:
  """Makes one pass over `source`: each example once, then padding of weight 0.

  Args:
    source: the split to evaluate; has at least one example.
    replica_batch: b, images per replica and step.
    share: the replicas to feed.

  Returns:
    Data set of `eval_steps` batches for each local replica.
  """
  def index(positions):
    return {'example': tf.minimum(positions, source.size - 1),
            'position': positions,
            'weight': tf.cast(positions < source.size, tf.float32)}

  indices = _indices(
      index, 0, eval_steps(source.size, replica_batch, share.replicas), share,
      replica_batch * share.replicas)
  return _prefetched(source.read(indices), share)


def _indices(index, first_step, last_step, share, global_batch):
  """Makes a data set of index(positions), step by step and replica by replica.
  """
  @tf.autograph.experimental.do_not_convert  # Converting takes 0.1 s.
  def element(i):
    return index(order.replica_positions(
        i // share.local, share.first + i % share.local,
        replicas=share.replicas, global_batch=global_batch))

  return tf.data.Dataset.range(
      first_step * share.local, last_step * share.local).map(element)


def _prefetched(dataset, share):
  options = tf.data.Options()
  # The shares are cut above; a shard policy would cut them a second time.
  options.experimental_distribute.auto_shard_policy = (
      tf.data.experimental.AutoShardPolicy.OFF)
  return dataset.prefetch(2 * share.local).with_options(options)
