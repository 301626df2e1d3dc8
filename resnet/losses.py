"""Loss and correctness of each example, from logits."""
import tensorflow as tf


def cross_entropy(logits, labels, label_smoothing=0.0):
  """Softmax cross-entropy of each example.

  Label smoothing (Szegedy et al. 2016, arXiv:1512.00567, section 7) spreads
  `label_smoothing` of the target evenly over all classes.

  Args:
    logits: float32 [b, classes].
    labels: int32 [b].
    label_smoothing: Python float in [0, 1).

  Returns:
    float32 [b], nats.
  """
  classes = logits.shape[-1]
  targets = tf.one_hot(
      labels, classes, 1 - label_smoothing + label_smoothing / classes,
      label_smoothing / classes)
  return tf.nn.softmax_cross_entropy_with_logits(targets, logits)


def in_top(logits, labels, k):
  """1 where fewer than k classes score higher than the label, else 0.

  A logit that is not a number counts as higher: a broken model scores 0.

  Args:
    logits: float32 [b, classes].
    labels: int32 [b].
    k: Python int.

  Returns:
    float32 [b].
  """
  own = tf.gather(logits, labels, batch_dims=1)[:, tf.newaxis]
  classes = logits.shape[-1]
  not_higher = tf.reduce_sum(tf.cast(logits <= own, tf.int32), axis=1)
  return tf.cast(classes - not_higher < k, tf.float32)
