"""What makes a pure function ready to be traced: XLA, or nothing at all."""
from collections.abc import Callable
import contextlib
import functools

import tensorflow as tf

from configs import schema
from pipelines import augmentation, mixing
from resnet.distribution import strategy as strategy_lib


def compiler(strategy: tf.distribute.Strategy, jit: str,
             sync_batch_norm: bool = False) -> Callable[[Callable], Callable]:
  """Returns the wrapper for the functions of a step.

  Args:
    strategy: the devices.
    jit: 'true', 'false', or 'auto': on GPUs.
    sync_batch_norm: whether the functions have batch norm that reduces over
      replicas. It cannot be compiled, and nor can all else in its function.

  Raises:
    UserError: 'true' was given and the step cannot be compiled.
  """
  if strategy_lib.use_xla(jit, strategy, sync_batch_norm):
    return _with_xla
  # Not a tf.function either: synchronised batch norm reduces over replicas,
  # which a nested function cannot.
  return tf.autograph.experimental.do_not_convert


def augment(config: schema.Config, strategy: tf.distribute.Strategy,
            jit: str, train_size: int) -> Callable:
  """Returns what forward_backward does to images first: augmentation.apply.

  Where XLA is not used for the whole step, jit='auto' still uses it here: on
  GPUs, because TensorFlow's own integer operations would run on the host, and
  for policies and blur, because it makes them three times as fast on CPUs. Its
  images are float32 then: no small integer is left outside.

  Args:
    config: what is trained.
    strategy: the devices.
    jit: 'true', 'false' or 'auto'.
    train_size: examples of the training split.
  """
  function = functools.partial(
      augmentation.apply, seed=config.seed, config=config.augment,
      mix_until=mixing.mix_until(config.augment.mix_epochs, train_size))
  if jit == 'auto' and (strategy_lib.on_gpus(strategy) or config.augment.blur
                        or config.augment.policy != 'none'):
    return _with_xla(functools.partial(_as_floats, function))
  return function


def _as_floats(function, *arguments):
  images, targets = function(*arguments)
  return tf.cast(images, tf.float32), targets


def host() -> contextlib.AbstractContextManager:
  """Places what is made in the block on the CPU of this process.

  On a GPU, a loop whose counter is there would copy it back at each pass, and
  wait for the devices to be done with the pass before.
  """
  return tf.device('CPU:0')


def on_host(first: int, last: int) -> tuple[tf.Tensor, tf.Tensor]:
  """Returns two numbers of steps as int64 scalars that stay on the host."""
  with host():
    return tf.constant(first, tf.int64), tf.constant(last, tf.int64)


def _with_xla(function):
  # The lambda hides bound keywords, which tf.function would take for inputs.
  return tf.function(lambda *arguments: function(*arguments),
                     jit_compile=True, autograph=False)
