"""One update and one evaluation step: what every replica computes.

Pure functions, everything an argument. An update is 1. forward_backward
(augment, standardise, model, loss, gradients)  2. the step's only collective,
one sum over replicas of gradients, batch-norm statistics and metric sums
3. update (optimiser). 1 and 3 may be compiled by XLA; a collective inside a
compiled function fails on more than one replica, so 2 stands between them.
"""
import functools

import tensorflow as tf

from resnet import losses, optimizers, schedules

_SCALE_GROWS_AFTER = 2000  # Steps; Micikevicius et al. 2018, arXiv:1710.03740.


def forward_backward(params, statistics, mean, stddev, loss_scale, batch, *,
                     model, augment, standardize, label_smoothing,
                     global_batch):
  """Gradients and sums of this replica's share of the global batch.

  Args:
    params: list of float32 tensors, the model's trainable variables.
    statistics: list of float32 tensors, its moving means and variances.
    mean: float32 [c] or [h, w, c].
    stddev: float32 [c].
    loss_scale: float32 scalar.
    batch: 'image' uint8 [b, h, w, c], 'label' int32 [b], 'position' int64 [b],
      'weight' float32 [b], 0 for an image that does not count.
    model: Keras model, its inputs are 'image' and, if it draws random numbers,
      'position'; logits float32 [b, classes].
    augment: (images uint8, targets float32 [b, classes], positions, mean) ->
      (images uint8 or float32 in 0..255, targets).
    standardize: (images, mean, stddev) -> float32.
    label_smoothing: Python float.
    global_batch: Python int; the replicas' gradients add up to that of the
      mean loss over it.

  Returns:
    gradients, a list like params, times loss_scale; statistics, updated by
    this replica's images; float32 [loss_sum in nats, correct, count].
  """
  target = losses.targets_of(
      batch['label'], model.output_shape[-1], label_smoothing)
  images, target = augment(batch['image'], target, batch['position'], mean)
  images = standardize(images, mean, stddev)
  with tf.GradientTape(watch_accessed_variables=False) as tape:
    tape.watch(params)
    logits, statistics = model.stateless_call(
        params, statistics, _inputs(model, images, batch), training=True)
    loss_sum = tf.reduce_sum(
        losses.cross_entropy(logits, target) * batch['weight'])
    scaled_loss = loss_sum / global_batch * loss_scale
  gradients = tape.gradient(scaled_loss, params)
  # Of a mixed image, the label with the larger share is the answer.
  answer = tf.argmax(target, 1, tf.int32)
  correct = tf.reduce_sum(losses.in_top(logits, answer, 1) * batch['weight'])
  count = tf.reduce_sum(batch['weight'])
  return gradients, statistics, tf.stack([loss_sum, correct, count])


def update(params, slots, gradients, loss_scale, good_steps, step, *,
           optimizer, schedule, decayed, total_steps, warmup_steps, precision):
  """Applies the optimiser to the gradients of the whole global batch.

  In float16 the scale of the loss adapts: an update whose gradients overflow
  is left out and the scale halved; it doubles after 2,000 good updates.

  Args:
    params, slots, gradients: lists of float32 tensors (optimizers.apply).
    loss_scale: float32 scalar by which the gradients are too large.
    good_steps: int64 scalar.
    step: int64 scalar, updates before this one.
    optimizer, schedule: configs.schema.Optimizer and Schedule.
    decayed, total_steps, warmup_steps: Python values for them.
    precision: 'float16' adapts the scale, others do not read it.

  Returns:
    (params, slots, loss_scale, good_steps), updated.
  """
  rate = schedules.learning_rate(
      step, schedule, total_steps=total_steps, warmup_steps=warmup_steps)
  apply = functools.partial(
      optimizers.apply, optimizer=optimizer, decayed=decayed, step=step,
      learning_rate=rate)
  if precision != 'float16':
    return *apply(params, slots, gradients), loss_scale, good_steps
  gradients = [g / loss_scale for g in gradients]
  finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(g))
                          for g in gradients])
  new_params, new_slots = tf.nest.map_structure(
      lambda new, old: tf.where(finite, new, old),
      apply(params, slots, gradients), (params, slots))
  good_steps = tf.where(finite, good_steps + 1, 0)
  grows = good_steps >= _SCALE_GROWS_AFTER
  factor = tf.where(finite, tf.where(grows, 2.0, 1.0), 0.5)
  return (new_params, new_slots, loss_scale * factor,
          tf.where(grows, tf.constant(0, tf.int64), good_steps))


def replica_train_step(state, batch, host, step, *, forward_backward, update,
                       digest=None):
  """One update on one replica. Call through strategy.run, on all at once.

  Args:
    state: a state.State; all but step, mean and stddev is assigned.
    batch: this replica's, see forward_backward.
    host: float32 [k], what the processes tell each other.
    step: int64 scalar, updates before this one.
    forward_backward, update: the functions above with their keyword arguments
      bound, compiled or not.
    digest: positions int64 [b] -> float32 [3], summed in state.digest; None:
      that is left as it is.

  Returns:
    float32 [*host, loss_sum, correct, count], summed over all replicas.
  """
  params, statistics, slots = _read((state.params, state.statistics,
                                     state.slots))
  loss_scale, good_steps = _read((state.loss_scale, state.good_steps))
  gradients, statistics, sums = forward_backward(
      params, statistics, _read(state.mean), _read(state.stddev), loss_scale,
      batch)
  drawn = digest(batch['position']) if digest else tf.zeros([0])
  gradients, statistics, totals = _sum_over_replicas(
      gradients, statistics, tf.concat([host, sums, drawn], 0))
  host, sums, drawn = tf.split(
      totals, [host.shape[0], sums.shape[0], drawn.shape[0]])
  new = update(params, slots, gradients, loss_scale, good_steps, step)
  tf.nest.map_structure(
      lambda variable, value: variable.assign(value),
      (state.params, state.slots, state.loss_scale, state.good_steps,
       state.statistics), (*new, statistics))
  state.sums.assign_add(sums)
  if digest:
    state.digest.assign_add(tf.cast(drawn, tf.int64))
  return tf.concat([host, sums], 0)


def _sum_over_replicas(gradients, statistics, sums):
  """The step's only collective. Statistics are averaged, the rest is added.

  Keras leaves each replica its own moving statistics; averaged every step, all
  state is the same everywhere, and any one replica's copy is the checkpoint.
  """
  context = tf.distribute.get_replica_context()
  replicas = context.num_replicas_in_sync
  sizes = [s.shape.num_elements() for s in statistics]
  flat = [tf.reshape(s, [-1]) / replicas for s in statistics]
  *gradients, vector = context.all_reduce(
      tf.distribute.ReduceOp.SUM, [*gradients, tf.concat([sums, *flat], 0)])
  sums, *flat = tf.split(vector, [sums.shape[0], *sizes])
  statistics = [tf.reshape(f, s.shape) for f, s in zip(flat, statistics)]
  return gradients, statistics, sums


def evaluate(params, statistics, mean, stddev, batch, *, model, standardize):
  """Sums over this replica's share of an evaluation batch.

  Args:
    params, statistics, mean, stddev, model, standardize: see forward_backward.
    batch: with 'weight' float32 [b], 0 on padding.

  Returns:
    float32 [loss_sum in nats, correct, correct among the top 5, count].
  """
  images = standardize(batch['image'], mean, stddev)
  logits, _ = model.stateless_call(
      params, statistics, _inputs(model, images, batch), training=False)
  label, weight = batch['label'], batch['weight']
  target = losses.targets_of(label, logits.shape[-1])
  per_example = [losses.cross_entropy(logits, target),
                 losses.in_top(logits, label, 1),
                 losses.in_top(logits, label, 5), tf.ones_like(weight)]
  # where, not a product: padding must not turn nan into the sum.
  return tf.stack([
      tf.reduce_sum(tf.where(weight > 0, value * weight, 0.0))
      for value in per_example])


def replica_eval_step(state, batch, host, *, evaluate):
  """One evaluation step on one replica. Call through strategy.run.

  Args:
    state: a state.State, only read.
    batch: this replica's, see evaluate.
    host: float32 [k], what the processes tell each other.
    evaluate: the function above with its keyword arguments bound.

  Returns:
    float32 [*host, *sums of evaluate], of this replica.
  """
  params, statistics = _read((state.params, state.statistics))
  sums = evaluate(params, statistics, _read(state.mean), _read(state.stddev),
                  batch)
  return tf.concat([host, sums], 0)


def _read(variables):
  """Tensors of this replica's copies: compiled functions must not capture
  variables of another device."""
  return tf.nest.map_structure(tf.convert_to_tensor, variables)


def _inputs(model, images, batch):
  """What the model asks for of the batch."""
  offered = {'image': images, 'position': batch['position']}
  return {name: offered[name] for name in model.input}
