"""What makes a pure function ready to be traced: XLA, or nothing at all."""
from collections.abc import Callable
import contextlib
import functools
from typing import Any

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


def on_host(*steps: int) -> list[tf.Tensor]:
  """Returns numbers of steps as int64 scalars that stay on the host."""
  with host():
    return [tf.constant(step, tf.int64) for step in steps]


def only_if(wanted: tf.Tensor, function: Callable, *arguments: Any
            ) -> tf.Tensor:
  """Returns function(*arguments) if it is wanted; zeros if not.

  What is not wanted costs the host one operation. tf.cond would take one more
  for each tensor: 90 us instead of 30 for the weights of ResNet-50 before and
  after an update.

  Args:
    wanted: bool scalar on the host, see `host`: the device is not waited for.
    function: tensors -> float32 tensor; it captures none.
    *arguments: nested tensors.
  """
  flat: Any = tf.nest.flatten(arguments)
  computed = _branch(lambda *values: function(
      *tf.nest.pack_sequence_as(arguments, values)), flat)
  shape = computed.output_shapes
  result, = tf.raw_ops.StatelessIf(
      cond=wanted, input=flat, Tout=[tf.float32], then_branch=computed,
      else_branch=_branch(lambda *unused: tf.zeros(shape), flat))
  result.set_shape(shape)
  return result


def _branch(function, arguments):
  """Traces a function of tensors for an operation of this graph."""
  branch = tf.function(function, autograph=False).get_concrete_function(
      *(tf.TensorSpec(a.shape, a.dtype) for a in arguments))
  branch.add_to_graph(tf.compat.v1.get_default_graph())
  return branch


def _with_xla(function):
  # The lambda hides bound keywords, which tf.function would take for inputs.
  return tf.function(lambda *arguments: function(*arguments),
                     jit_compile=True, autograph=False)
