"""What a network makes of every single example of a split.

Each example is looked at once, in the order of the split; pictures that are
skipped as bad are counted. The sums over all of them are those of
evaluator.Evaluate, up to rounding.
"""
from collections.abc import Callable, Mapping
import types
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from configs.process import host_memory
from configs.process.errors import UserError
from pipelines import batches, on_disk
from pipelines.sources import InMemory, Source
from resnet.distribution import feeding
from resnet.evaluation import temperature
from resnet.optimization import losses

_NO_METRICS: Mapping[str, Callable] = types.MappingProxyType({})


class Examples(NamedTuple):
  """The examples of a split, each array in their order: n were counted."""
  index: np.ndarray  # int64 [n]: the numbers of the examples in the split.
  label: np.ndarray  # int32 [n].
  predicted: np.ndarray  # int32 [n]: the class with the largest logit.
  probability: np.ndarray  # float64 [n], of that class.
  loss: np.ndarray  # float32 [n], nats.
  correct: np.ndarray  # bool [n].
  in_top5: np.ndarray  # bool [n].
  skipped: np.ndarray  # int64 [m]: the numbers of those that are bad.
  own: Mapping[str, np.ndarray]  # float [n], by the recipe's own metrics.
  logits: np.ndarray | None  # float32 [n, classes], if they were asked for.


def look_at(source: Source, logits: Callable[[np.ndarray], np.ndarray],
            batch: int, loss: str, *, keep_logits: bool = False,
            metrics: Mapping[str, Callable] = _NO_METRICS) -> Examples:
  """Makes one pass over a split.

  Args:
    source: the split, see pipelines/sources.py.
    logits: uint8 [n, h, w, c] -> float32 [n, classes], see inference/logits.py.
    batch: images that are read at a time.
    loss: see schema.Config.
    keep_logits: whether to keep them: 4 bytes for each example and class.
    metrics: the recipe's own, see models/own.py.

  Raises:
    UserError: the input cannot be read, all of it was skipped as bad, or a
      logit is not a finite number.
  """
  host_memory.keep_freed()
  stream: Any = batches.evaluate(source, replica_batch=batch)
  parts, skipped, done = [], [], 0
  with feeding.explained(
      source, lambda: range(done, min(done + batch, source.size))):
    for read in stream.as_numpy_iterator():
      there = read['position'] < source.size
      good = there & (read['weight'] > 0)
      skipped.append(read['position'][there & ~good])
      if good.any():
        parts.append(_of_batch(
            read['position'][good], read['label'][good],
            logits(read['image'])[good], loss, keep_logits, metrics))
      done += batch
  if not parts:
    raise on_disk.all_bad(source, [0], 'the evaluation split')
  columns: dict[Any, Any] = {
      name: np.concatenate([part[name] for part in parts])
      for name in parts[0]}
  own = {name: columns.pop(('own', name)) for name in metrics}
  kept = columns.pop('logits', None)
  return Examples(**columns, skipped=np.concatenate(skipped), own=own,
                  logits=kept)


def batch_of(source: Source, most: int, replicas: int) -> int:
  """Returns the images, over all replicas, that are looked at together.

  They are those that evaluator.Evaluate takes.

  Args:
    source: the split.
    most: see schema.Config.eval_batch.
    replicas: how many there are.
  """
  return replicas * batches.eval_batch(source.size, most, replicas)


def pictures(source: Source, index: np.ndarray) -> list[np.ndarray]:
  """Reads the images of some examples that were looked at.

  Args:
    source: the split.
    index: int64 [k], their numbers.

  Returns:
    Their pixels as the network sees them, uint8 [h, w, c] each.
  """
  if not len(index):
    return []
  if isinstance(source, InMemory):  # A stream costs 30 ms to make.
    return list(tf.gather(source.images, index).numpy())
  return [image for batch in on_disk.read_examples(source, index)
          for image in batch['image']]


def sums(examples: Examples, classes: int) -> dict[str, float]:
  """Returns the values of evaluator.Evaluate; see there."""
  count = len(examples.index)
  values: dict[str, float] = {
      'loss': float(examples.loss.mean(dtype=np.float64)),
      'accuracy': int(examples.correct.sum()) / count}
  if classes > 5:
    values['top5_accuracy'] = int(examples.in_top5.sum()) / count
  values.update((name, float(column.mean(dtype=np.float64)))
                for name, column in examples.own.items())
  values['examples'] = count
  if len(examples.skipped):
    values['skipped_images'] = len(examples.skipped)
  return values


def _of_batch(index, label, logits, loss, keep_logits, metrics):
  """Returns {name: column} of Examples for some examples."""
  finite = np.isfinite(logits).all(1)
  if not finite.all():
    raise UserError(
        f'The network gives example {index[~finite][0]} logits that are not '
        'finite numbers: what its predictions are worth cannot be told; '
        'evaluate another --checkpoint.')
  labels, scores = tf.constant(label), tf.constant(logits)
  target = losses.targets_of(labels, logits.shape[1])
  columns: dict[Any, np.ndarray] = {
      'index': index, 'label': label,
      'predicted': logits.argmax(1).astype(np.int32),
      'probability': temperature.top_probability(logits, loss),
      'loss': losses.LOSSES[loss](scores, target).numpy(),
      'correct': losses.in_top(scores, labels, 1).numpy() > 0,
      'in_top5': losses.in_top(scores, labels, 5).numpy() > 0}
  columns.update((('own', name), np.asarray(metric(labels, scores)))
                 for name, metric in metrics.items())
  return {**columns, 'logits': logits} if keep_logits else columns
