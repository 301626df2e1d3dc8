"""Targets, loss and correctness of each example."""
from collections.abc import Callable, Sequence

import tensorflow as tf


def targets_of(labels: tf.Tensor, classes: int,
               label_smoothing: float = 0.0) -> tf.Tensor:
  """Returns the distribution over classes that each example should have.

  Label smoothing (Szegedy et al. 2016, arXiv:1512.00567, section 7) spreads
  `label_smoothing` of it evenly over all classes.

  Args:
    labels: int32 [b].
    classes: number of classes.
    label_smoothing: in [0, 1).

  Returns:
    float32 [b, classes]; each row adds up to 1.
  """
  return tf.one_hot(
      labels, classes, 1 - label_smoothing + label_smoothing / classes,
      label_smoothing / classes)


def cross_entropy(logits: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
  """Returns the softmax cross-entropy of each example.

  Args:
    logits: float32 [b, classes].
    target: float32 [b, classes].

  Returns:
    float32 [b], nats.
  """
  return tf.nn.softmax_cross_entropy_with_logits(target, logits)


def binary_cross_entropy(logits: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
  """Returns the sigmoid cross-entropy of each example, the mean over classes.

  Each class is a question of its own (Wightman et al. 2021, arXiv:2110.00476,
  section 3).

  Args:
    logits: float32 [b, classes].
    target: float32 [b, classes], in [0, 1].

  Returns:
    float32 [b], nats.
  """
  return tf.reduce_mean(
      tf.nn.sigmoid_cross_entropy_with_logits(target, logits), 1)


# The losses by config.loss.
LOSSES: dict[str, Callable] = {
    'softmax': cross_entropy, 'sigmoid': binary_cross_entropy}


def weights_of(target: tf.Tensor,
               class_weights: Sequence[float]) -> tf.Tensor | float:
  """Returns how much each example's loss counts.

  Args:
    target: float32 [b, classes].
    class_weights: one for each class; (): 1.

  Returns:
    float32 [b]: the mean of the classes' weights under the target; or 1.
  """
  if not class_weights:
    return 1.0
  return tf.linalg.matvec(target, tf.constant(class_weights, tf.float32))


def in_top(logits: tf.Tensor, labels: tf.Tensor, k: int) -> tf.Tensor:
  """Returns 1 where fewer than k classes rank before the label, else 0.

  Classes rank by logit, the highest first. Among equal logits the lower class
  comes first, as in argmax: a model that cannot tell classes apart is not
  always right. NaN ranks before everything, so a broken model scores 0.

  Args:
    logits: float32 [b, classes].
    labels: int32 [b].
    k: how many classes count as the top.

  Returns:
    float32 [b].
  """
  classes = logits.shape[-1]
  assert classes is not None  # Networks have a fixed number of classes.
  labels = labels[:, tf.newaxis]
  own = tf.gather(logits, labels, batch_dims=1)
  behind = (logits < own) | ((logits == own) & (tf.range(classes) >= labels))
  before = classes - tf.reduce_sum(tf.cast(behind, tf.int32), axis=1)
  return tf.cast(before < k, tf.float32)
