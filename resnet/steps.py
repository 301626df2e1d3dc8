"""One update: what every replica computes.

Pure functions; everything is an argument. An update is 1. local_share, which is
forward_backward (augment, standardize, model, loss, gradients), packed  2. the
step's only collective, one sum over replicas of gradients, batch-norm
statistics and metric sums  3. apply_total, which is update (optimizer) after
unpacking. XLA may compile 1 and 3. A collective inside a compiled function
fails on more than one replica, so 2 stays outside of both. If the host asks for
it, the size of the update is then measured, see update_figures.measure.
"""
from collections.abc import Callable, Mapping, Sequence
import itertools
from typing import Any

import keras
import tensorflow as tf

from configs import schema
from resnet.distribution.packing import Packing
from resnet.optimization import clipping, losses, optimizers, schedules
from resnet.state import State

_SCALE_GROWS_AFTER = 2000  # Steps; Micikevicius et al. 2018, arXiv:1710.03740.


def forward_backward(
    params: Sequence[tf.Tensor], statistics: Sequence[tf.Tensor],
    mean: tf.Tensor, stddev: tf.Tensor, loss_scale: tf.Tensor,
    batch: Mapping[str, tf.Tensor], *, model: keras.Model, augment: Callable,
    standardize: Callable, loss: Callable, class_weights: Sequence[float],
    label_smoothing: float, global_batch: int
    ) -> tuple[list, list, tf.Tensor]:
  """Computes gradients and sums over this replica's share of the global batch.

  Args:
    params: float32 tensors, the model's trainable variables.
    statistics: float32 tensors, its moving means and variances.
    mean: float32 [c] or [h, w, c].
    stddev: float32 [c].
    loss_scale: float32 scalar.
    batch: 'image' uint8 [b, h, w, c], 'label' int32 [b], 'position' int64 [b],
      'weight' float32 [b], 0 for an image that does not count.
    model: its inputs are 'image' and, if it draws random numbers, 'position';
      logits float32 [b, classes].
    augment: (images uint8, targets float32 [b, classes], positions, mean) ->
      (images uint8 or float32 in 0..255, targets).
    standardize: (images, mean, stddev) -> float32.
    loss: (logits, targets) -> float32 [b], nats.
    class_weights: see losses.weights_of.
    label_smoothing: see losses.targets_of.
    global_batch: images of all replicas; the replicas' gradients add up to that
      of the mean loss over them.

  Returns:
    (gradients, like params, times loss_scale; statistics, updated with this
    replica's images; float32 [loss_sum in nats, correct, count]).
  """
  target = losses.targets_of(
      batch['label'], model.output_shape[-1], label_smoothing)
  images, target = augment(batch['image'], target, batch['position'], mean)
  images = standardize(images, mean, stddev)
  with tf.GradientTape(watch_accessed_variables=False) as tape:
    tape.watch(params)
    logits, statistics = model.stateless_call(  # pyright: ignore[reportAssignmentType]
        params, statistics, inputs(model, images, batch), training=True)
    loss_sum = tf.reduce_sum(
        loss(logits, target) * batch['weight']
        * losses.weights_of(target, class_weights))
    scaled_loss = loss_sum / global_batch * loss_scale
  gradients = tape.gradient(scaled_loss, params)
  # The correct answer for a mixed image is the label with the larger share.
  answer = tf.argmax(target, 1, tf.int32)
  correct = tf.reduce_sum(losses.in_top(logits, answer, 1) * batch['weight'])
  count = tf.reduce_sum(batch['weight'])
  return gradients, statistics, tf.stack([loss_sum, correct, count])


def update(
    params: Sequence[tf.Tensor], slots: Sequence[Sequence[tf.Tensor]],
    gradients: Sequence[tf.Tensor], loss_scale: tf.Tensor,
    good_steps: tf.Tensor, rate_scale: tf.Tensor, step: tf.Tensor, *,
    optimizer: schema.Optimizer, schedule: schema.Schedule, rate_floor: float,
    names: Sequence[str], total_steps: int, warmup_steps: int, precision: str,
    rate_factors: Sequence[float] = ()
    ) -> tuple[list[tf.Tensor], list[list[tf.Tensor]], tf.Tensor, tf.Tensor]:
  """Applies the optimizer to the gradients of the whole global batch.

  In float16 the scale of the loss adapts: if the gradients overflow, the update
  is skipped and the scale halved; after 2,000 good updates it doubles.

  Args:
    params: see optimizers.apply.
    slots: see optimizers.apply.
    gradients: like params, times loss_scale.
    loss_scale: float32 scalar.
    good_steps: int64 scalar, updates since loss_scale last changed.
    rate_scale: see schedules.reduced.
    step: int64 scalar, updates before this one.
    optimizer: its name and settings.
    schedule: of the learning rate.
    rate_floor: see schedules.reduced.
    names: of the params, as 'stem_conv/kernel'.
    total_steps: updates of the run.
    warmup_steps: updates over which the learning rate rises.
    precision: 'float16' adapts the scale; with others it stays.
    rate_factors: see optimizers.apply.

  Returns:
    (params, slots, loss_scale, good_steps) after the update.
  """
  rate = schedules.reduced(schedules.learning_rate(
      step, schedule, total_steps=total_steps, warmup_steps=warmup_steps),
      rate_scale, rate_floor)

  def apply(params, slots, gradients):
    return optimizers.apply(
        params, slots, clipping.clip(
            params, gradients, optimizer=optimizer, names=names),
        optimizer=optimizer, decayed=optimizers.decayed(names, optimizer),
        step=step, learning_rate=rate, rate_factors=rate_factors)

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


def local_share(
    params: Sequence[tf.Tensor], statistics: Sequence[tf.Tensor],
    mean: tf.Tensor, stddev: tf.Tensor, loss_scale: tf.Tensor,
    batch: Mapping[str, tf.Tensor], host: tf.Tensor, *,
    forward_backward: Callable, digest: Callable, packing: Packing,
    moves: Sequence[bool] = ()) -> list[tf.Tensor]:
  """Computes what this replica adds to the step's sum.

  Args:
    params: see forward_backward.
    statistics: see forward_backward.
    mean: see forward_backward.
    stddev: see forward_backward.
    loss_scale: see forward_backward.
    batch: see forward_backward.
    host: float32 [k], what the processes tell each other.
    forward_backward: the function above, with its keyword arguments bound.
    digest: positions int64 [b] -> float32 [d], to be summed.
    packing: of gradients, moving statistics and float32 [k + 3 + d].
    moves: like statistics: whether training changes each one; (): all.

  Returns:
    The vectors to sum over replicas, see Packing.pack.
  """
  gradients, statistics, sums = forward_backward(
      params, statistics, mean, stddev, loss_scale, batch)
  # Sums over replicas would round what is frozen.
  statistics = list(itertools.compress(
      statistics, moves or itertools.repeat(True)))
  return packing.pack(gradients, statistics, tf.concat(
      [host, sums, digest(batch['position'])], 0))


def apply_total(
    params: Sequence[tf.Tensor], slots: Sequence[Sequence[tf.Tensor]],
    averages: Sequence[tf.Tensor], loss_scale: tf.Tensor,
    good_steps: tf.Tensor, rate_scale: tf.Tensor, step: tf.Tensor,
    vectors: Sequence[tf.Tensor], *, update: Callable, average: Callable,
    packing: Packing) -> tuple[tuple, tf.Tensor]:
  """Computes the state after a step from the sums over all replicas.

  Args:
    params: see update.
    slots: see update.
    averages: of params and moving statistics, see averages.update; or empty.
    loss_scale: see update.
    good_steps: see update.
    rate_scale: see update.
    step: see update.
    vectors: of `local_share`, summed.
    update: the function above, with its keyword arguments bound.
    average: averages.update, with its keyword arguments bound.
    packing: as in `local_share`.

  Returns:
    ((params, slots, loss_scale, good_steps, moving statistics, averages),
    float32 [k + 3 + d]).
  """
  gradients, statistics, sums = packing.unpack(vectors)
  new = update(params, slots, gradients, loss_scale, good_steps, rate_scale,
               step)
  averages = average(averages, [*new[0], *statistics], step)
  return (*new, statistics, averages), sums


def replica_train_step(
    state: State, batch: Mapping[str, tf.Tensor], host: tf.Tensor,
    step: tf.Tensor, measured: tf.Tensor, *, local_share: Callable,
    apply_total: Callable, measure: Callable, kept: Sequence[tf.Variable] = ()
    ) -> tuple[tf.Tensor, tf.Tensor]:
  """Makes one update on one replica.

  Call it through strategy.run, on all replicas at once.

  Args:
    state: what an update changes is assigned; digest only if there is one.
    batch: this replica's share, see forward_backward.
    host: float32 [k], what the processes tell each other.
    step: int64 scalar, updates before this one.
    measured: bool scalar on the host: whether this update is.
    local_share: the function above, with its keyword arguments bound; compiled
      or not.
    apply_total: likewise.
    measure: (measured, old params, new params, averages, loss_scale, vectors)
      -> float32 [f], see update_figures.measure.
    kept: see kept_gradients.KeptGradients; (): nothing is kept.

  Returns:
    (float32 [*host, loss_sum, correct, count], summed over all replicas;
    float32 [f] of `measure`).
  """
  params, statistics, slots, averages = read(
      (state.params, state.statistics, state.slots, state.averages))
  loss_scale, good_steps, rate_scale = read(
      (state.loss_scale, state.good_steps, state.rate_scale))
  vectors = _sum_over_replicas(local_share(
      params, statistics, read(state.mean), read(state.stddev), loss_scale,
      batch, host))
  new, sums = apply_total(params, slots, averages, loss_scale, good_steps,
                          rate_scale, step, vectors)
  figures = measure(measured, params, new[0], new[-1], loss_scale, vectors)
  for variable, value in zip(kept, [*vectors, loss_scale]):
    variable.assign(value)
  tf.nest.map_structure(
      lambda variable, value: variable.assign(value),
      (state.params, state.slots, state.loss_scale, state.good_steps,
       state.moving, state.averages), new)
  sizes = [host.shape[0], 3, sums.shape[0] - host.shape[0] - 3]  # pyright: ignore[reportOptionalOperand]
  host, sums, drawn = tf.split(sums, sizes)  # pyright: ignore[reportArgumentType]
  state.sums.assign_add(sums)
  if drawn.shape[0]:
    state.digest.assign_add(tf.cast(drawn, tf.int64))
  return tf.concat([host, sums], 0), figures


def no_digest(positions: tf.Tensor) -> tf.Tensor:
  """Returns float32 [0], the digest of a run that writes none."""
  del positions
  return tf.zeros([0])


def _sum_over_replicas(vectors):
  """Makes the step's only collective, or one for each type of several."""
  context = tf.distribute.get_replica_context()
  if context.num_replicas_in_sync == 1:
    return vectors
  return [context.all_reduce(tf.distribute.ReduceOp.SUM, vector)
          for vector in vectors]


def read(variables: Any) -> Any:
  """Returns this replica's values as tensors.

  Compiled functions must not capture variables of another device.
  """
  return tf.nest.map_structure(tf.convert_to_tensor, variables)


def inputs(model: keras.Model, images: tf.Tensor,
           batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
  """Returns those parts of the batch that the model takes."""
  offered = {'image': images, 'position': batch['position']}
  return {name: offered[name] for name in model.input}
