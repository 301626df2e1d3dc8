"""Batches of images, in an order that depends on (seed, step) and nothing else.

Train: 1. positions of a replica's share of batch s (order.py)  2. positions ->
examples, one permutation an epoch  3. read, from disk also decode and crop
(sources.py)  4. prefetch.
Eval: examples in their order on disk, padded to equal batches on every
replica; `weight` is 0 on padding.

A batch is {'image': uint8 [b, h, w, c], 'label': int32 [b], 'position': int64
[b], 'weight': float32 [b]}, always of one static shape. One element a local
replica, in rank order. Nothing here knows the model or the strategy.

  batches = train(source, seed=0, global_batch=128, last_step=64_000,
                  first_step=900, share=Share(replicas=4, first=0, local=4))
"""
from typing import NamedTuple

import tensorflow as tf

from pipelines import order


class Share(NamedTuple):
  """Which replicas of all this process feeds: local ones from `first` on."""
  replicas: int  # Over all workers.
  first: int
  local: int


ALL = Share(replicas=1, first=0, local=1)


def train(source, *, seed, global_batch, first_step, last_step, share=ALL,
          repeats=1, crop=None):
  """The training stream from step `first_step` to before `last_step`.

  Starting anywhere costs the same: the stream is computed, not skipped.

  Args:
    source: see sources.py.
    seed: Python int in [0, 2**32).
    global_batch: images a step over all replicas; divisible by them.
    first_step: step of the first batch.
    last_step: the stream ends before it.
    share: the replicas to feed.
    repeats: how often each example stands in its batch; divides global_batch.
    crop: what cuts and resizes pictures from disk, see decode.py; None: as in
      evaluation.

  Returns:
    tf.data.Dataset of batches, b = global_batch / share.replicas.
  """
  def index(positions):
    return {'example': train_examples(
                positions, size=source.size, seed=seed,
                global_batch=global_batch, repeats=repeats),
            'position': positions,
            'weight': tf.ones_like(positions, tf.float32)}

  indices = _indices(index, first_step, last_step, share, global_batch)
  return _prefetched(source.read(indices, crop), share)


def train_examples(positions, *, size, seed, global_batch, repeats=1):
  """int64 [b]: the examples at `positions`, int64 [b]; see train."""
  distinct = order.distinct(
      positions, global_batch=global_batch, repeats=repeats)
  return order.examples(distinct, size=size, seed=seed)


def eval_steps(size, replica_batch, replicas):
  """Steps that count `size` examples once: the same on every replica."""
  return -(-size // (replica_batch * replicas))


def evaluate(source, *, replica_batch, share=ALL):
  """One pass over `source`, each example once, padded with weight 0.

  Args:
    source: see sources.py; at least one example.
    replica_batch: b, images a replica and step.
    share: the replicas to feed.

  Returns:
    tf.data.Dataset of eval_steps() batches for each local replica.
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
  """index(positions) for each step and, in turn, each local replica."""
  def element(i):
    return index(order.replica_positions(
        i // share.local, share.first + i % share.local,
        replicas=share.replicas, global_batch=global_batch))

  return tf.data.Dataset.range(
      first_step * share.local, last_step * share.local).map(element)


def _prefetched(dataset, share):
  options = tf.data.Options()
  # Shares are cut above; a shard policy would cut them a second time.
  options.experimental_distribute.auto_shard_policy = (
      tf.data.experimental.AutoShardPolicy.OFF)
  return dataset.prefetch(2 * share.local).with_options(options)
