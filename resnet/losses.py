"""Targets, loss and correctness of each example."""
import tensorflow as tf


def targets_of(labels, classes, label_smoothing=0.0):
  """The distribution over classes that each example should have.

  Label smoothing (Szegedy et al. 2016, arXiv:1512.00567, section 7) spreads
  `label_smoothing` of it evenly over all classes.

  Args:
    labels: int32 [b].
    classes: Python int.
    label_smoothing: Python float in [0, 1).

  Returns:
    float32 [b, classes], each row adds up to 1.
  """
  return tf.one_hot(
      labels, classes, 1 - label_smoothing + label_smoothing / classes,
      label_smoothing / classes)


def cross_entropy(logits, target):
  """Softmax cross-entropy of each example.

  Args:
    logits: float32 [b, classes].
    target: float32 [b, classes].

  Returns:
    float32 [b], nats.
  """
  return tf.nn.softmax_cross_entropy_with_logits(target, logits)


def in_top(logits, labels, k):
  """1 where fewer than k classes stand before the label, else 0.

  Higher logits stand before lower ones, and of equal logits the lower class, as
  in argmax: a model that cannot tell the classes apart is not always right. A
  logit that is not a number stands before all others: a broken model scores 0.

  Args:
    logits: float32 [b, classes].
    labels: int32 [b].
    k: Python int.

  Returns:
    float32 [b].
  """
  classes = logits.shape[-1]
  labels = labels[:, tf.newaxis]
  own = tf.gather(logits, labels, batch_dims=1)
  behind = (logits < own) | ((logits == own) & (tf.range(classes) >= labels))
  before = classes - tf.reduce_sum(tf.cast(behind, tf.int32), axis=1)
  return tf.cast(before < k, tf.float32)
