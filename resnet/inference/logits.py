"""The logits of single images, by the function that evaluations use."""
import keras
import numpy as np
import tensorflow as tf

from configs import schema
from resnet import bound_steps, compilation, steps
from resnet import state as state_lib


class Logits:
  """Computes logits on all devices of a strategy, in batches of one size."""

  def __init__(self, config: schema.Config, model: keras.Model,
               state: state_lib.State, strategy: tf.distribute.Strategy, *,
               jit: str = 'auto', batch: int = 64):
    """Builds the function; nothing is computed yet.

    Args:
      config: what was trained. It decides whether the averaged weights count,
        and whether mirror images do.
      model: its network, see network.build.
      state: its variables; their values are read at each call.
      strategy: the devices, of this process; model and state were made in its
        scope.
      jit: 'true', 'false' or 'auto'.
      batch: images that all devices share at a time.
    """
    if config.ema.decay and config.ema.evaluated:
      state = state_lib.averaged(state)
    self._strategy = strategy
    self._share = -(-batch // strategy.num_replicas_in_sync)
    logits = compilation.compiler(strategy, jit)(
        bound_steps.logits(config, model))

    def of_replica(images):
      params, statistics = steps.read((state.params, state.statistics))
      return logits(params, statistics, steps.read(state.mean),
                    steps.read(state.stddev), {
                        'image': images,
                        'position': tf.zeros([self._share], tf.int64)})

    self._run = tf.function(
        lambda images: strategy.run(of_replica, args=(images,)),
        autograph=False)

  @property
  def batch(self) -> int:
    """Images that are computed at a time."""
    return self._share * self._strategy.num_replicas_in_sync

  def __call__(self, images: np.ndarray) -> np.ndarray:
    """Returns the logits of images.

    Args:
      images: uint8 [n, h, w, c], any n.

    Returns:
      float32 [n, classes].
    """
    parts = [self._of_batch(images[start:start + self.batch])
             for start in range(0, len(images), self.batch)]
    return np.concatenate(parts)

  def _of_batch(self, images):
    """Returns the logits of up to `batch` images; fills up with black ones."""
    missing = self.batch - len(images)
    full = np.pad(images, ((0, missing), (0, 0), (0, 0), (0, 0)))

    def share(context):
      first = context.replica_id_in_sync_group * self._share
      return tf.constant(full[first:first + self._share])

    results = self._strategy.experimental_local_results(self._run(
        self._strategy.experimental_distribute_values_from_function(share)))
    return np.concatenate([r.numpy() for r in results])[:len(images)]
