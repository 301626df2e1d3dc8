"""One step of an evaluation: what every replica computes. Pure functions."""
from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from resnet import steps
from resnet.optimization import losses
from resnet.state import State

# What is known of each example: whether it counts, its label, the class with
# the largest logit, that logit, the logarithm of the sum of all logits'
# exponentials, and the loss. Classes are exact up to 2**24.
COLUMNS = ('counts', 'label', 'predicted', 'top_logit', 'log_sum', 'loss')


def logits(
    params: Sequence[tf.Tensor], statistics: Sequence[tf.Tensor],
    mean: tf.Tensor, stddev: tf.Tensor, batch: Mapping[str, tf.Tensor], *,
    model: keras.Model, standardize: Callable, flip: bool) -> tf.Tensor:
  """Returns what the network makes of a batch that it is not trained on.

  Args:
    params: see steps.forward_backward.
    statistics: see steps.forward_backward.
    mean: see steps.forward_backward.
    stddev: see steps.forward_backward.
    batch: see steps.forward_backward; neither label nor weight are needed.
    model: see steps.forward_backward.
    standardize: see steps.forward_backward.
    flip: whether to average the logits of each image and of its mirror image.

  Returns:
    float32 [b, classes].
  """
  def of(images):
    images = standardize(images, mean, stddev)
    return model.stateless_call(
        params, statistics, steps.inputs(model, images, batch),
        training=False)[0]

  result = of(batch['image'])
  if flip:
    result = (result + of(tf.reverse(batch['image'], [2]))) / 2
  return result


def evaluate(
    params: Sequence[tf.Tensor], statistics: Sequence[tf.Tensor],
    mean: tf.Tensor, stddev: tf.Tensor, batch: Mapping[str, tf.Tensor], *,
    model: keras.Model, standardize: Callable, loss: Callable, flip: bool,
    metrics: Sequence[Callable] = ()) -> tuple[tf.Tensor, tf.Tensor]:
  """Computes sums over this replica's share of an evaluation batch.

  Args:
    params, statistics, mean, stddev: see steps.forward_backward.
    batch: see steps.forward_backward; 'weight' is 0 on padding.
    model, standardize, loss: see steps.forward_backward.
    flip: see logits.
    metrics: functions of the user: label int32 [b], logits float32 [b, classes]
      -> float [b].

  Returns:
    (float32 [loss_sum in nats, correct, correct among the top 5, count, *sums
    of metrics]; float32 [b, len(COLUMNS)]).
  """
  scores = logits(params, statistics, mean, stddev, batch, model=model,
                  standardize=standardize, flip=flip)
  label, weight = batch['label'], batch['weight']
  target = losses.targets_of(label, scores.shape[-1])  # pyright: ignore[reportArgumentType]
  per_example = [loss(scores, target), losses.in_top(scores, label, 1),
                 losses.in_top(scores, label, 5), tf.ones_like(weight),
                 *(tf.cast(metric(label, scores), tf.float32)
                   for metric in metrics)]
  # tf.where instead of a product: a NaN on padding must not reach the sum.
  sums = tf.stack([
      tf.reduce_sum(tf.where(weight > 0, value * weight, 0.0))
      for value in per_example])
  known = [weight, label, tf.argmax(scores, 1, tf.int32),
           tf.reduce_max(scores, 1), tf.reduce_logsumexp(scores, 1),
           per_example[0]]
  return sums, tf.stack([tf.cast(column, tf.float32) for column in known], 1)


def replica_eval_step(
    state: State, batch: Mapping[str, tf.Tensor], host: tf.Tensor,
    place: tf.Tensor, rows: tf.Tensor, *, evaluate: Callable
    ) -> tuple[tf.Tensor, tf.Tensor]:
  """Makes one evaluation step on one replica. Call it through strategy.run.

  Args:
    state: only read.
    batch: this replica's share, see evaluate.
    host: float32 [k], what the processes tell each other.
    place: bool [steps, 1, 1], true where the step's examples go in `rows`; with
      steps = 0, they are not kept.
    rows: float32 [steps, b, len(COLUMNS)], what is known of the examples.
    evaluate: the function above, with its keyword arguments bound.

  Returns:
    (float32 [*host, *sums of evaluate], of this replica; rows, with those of
    this step.)
  """
  params, statistics = steps.read((state.params, state.statistics))
  sums, each = evaluate(params, statistics, steps.read(state.mean),
                        steps.read(state.stddev), batch)
  return tf.concat([host, sums], 0), tf.where(place, each, rows)
