"""The layers that networks are built from, with the settings they share."""
from collections.abc import Mapping, Sequence
import dataclasses
import functools
import sys

import keras

from resnet.models.batch_norm import BatchNorm
from resnet.models.blur_pool import BlurPool
from resnet.models.grouped_conv import GroupedConv
from resnet.models.max_pool import MaxPool


def network_input(name: str, shape: Sequence[int | None],
                  dtype: str = 'float32') -> keras.KerasTensor:
  """Returns an input of a network, [b, *shape]; None is any size."""
  return keras.Input(  # pyright: ignore[reportReturnType]
      shape, dtype=dtype, name=name)


def he_normal() -> keras.initializers.Initializer:
  """Returns He et al.'s initialization of kernels, by the fan out."""
  return keras.initializers.VarianceScaling(
      2.0, 'fan_out', 'untruncated_normal')


def network_of(inputs: Mapping[str, keras.KerasTensor],
               logits: keras.KerasTensor, name: str, depth: int) -> keras.Model:
  """Returns the model of a graph with `depth` convolutions on its longest path.

  Keras walks the graph recursively, layer by layer.
  """
  limit = sys.getrecursionlimit()
  sys.setrecursionlimit(limit + 5 * depth)  # At most 5 layers a convolution.
  try:
    return keras.Model(inputs, logits, name=name)
  finally:
    sys.setrecursionlimit(limit)


@dataclasses.dataclass(frozen=True)
class Layers:
  """Adds named layers to a graph; every method takes and returns a tensor."""
  batch_norm_momentum: float
  batch_norm_epsilon: float
  sync_batch_norm: bool
  dtype: str  # Keras dtype policy.
  deterministic: bool = False  # Whether gradients must be, also on GPUs.
  on_gpus: bool = False  # Whether all devices are GPUs.

  def conv(self, x: keras.KerasTensor, name: str, filters: int, kernel: int,
           stride: int = 1, groups: int = 1) -> keras.KerasTensor:
    """Convolves without a bias, with He initialization (fan out).

    Windows with a stride are padded by kernel // 2 on every side, as in the
    models that the papers' authors released: their centers are the pixels 0, 2,
    4, ..., as in the shortcut. 'same' shifts them by one if the size is even.
    """
    strided = stride > 1
    if strided and kernel > 1:
      x = self.pad(x, f'{name}_pad', kernel // 2)
    make = keras.layers.Conv2D if groups == 1 else functools.partial(
        GroupedConv, groups=groups, native_gradient=self.on_gpus)
    return make(
        filters, kernel, stride, padding='valid' if strided else 'same',
        use_bias=False, dtype=self.dtype, name=name,
        kernel_initializer=he_normal(),  # pyright: ignore[reportArgumentType]
    )(x)

  def norm(self, x: keras.KerasTensor, name: str,
           zero: bool = False) -> keras.KerasTensor:
    """Adds batch norm; `zero` starts its scale at zero instead of one.

    Statistics over all replicas take Keras's layer, several times as slow.
    """
    make = (functools.partial(
        keras.layers.BatchNormalization, synchronized=True)
            if self.sync_batch_norm else BatchNorm)
    return make(
        momentum=self.batch_norm_momentum, epsilon=self.batch_norm_epsilon,
        gamma_initializer='zeros' if zero else 'ones', dtype=self.dtype,
        name=name)(x)

  def relu(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Adds a ReLU."""
    return keras.layers.ReLU(dtype=self.dtype, name=name)(x)

  def norm_relu(self, x: keras.KerasTensor, norm_name: str,
                relu_name: str) -> keras.KerasTensor:
    """Adds batch norm and a ReLU."""
    return self.relu(self.norm(x, norm_name), relu_name)

  def max_pool(self, x: keras.KerasTensor, name: str, size: int, stride: int,
               padding: str = 'valid') -> keras.KerasTensor:
    """Adds max-pooling; see max_pool for `padding`."""
    make = MaxPool if self.deterministic else keras.layers.MaxPooling2D
    return make(size, stride, padding, dtype=self.dtype, name=name)(x)

  def mean_pool(self, x: keras.KerasTensor, name: str,
                stride: int) -> keras.KerasTensor:
    """Averages over squares of the stride; ceil(side / stride) are left.

    Squares that reach over the border are averaged over what is inside.
    """
    return keras.layers.AveragePooling2D(
        stride, padding='same', dtype=self.dtype, name=name)(x)

  def blur_pool(self, x: keras.KerasTensor, name: str,
                stride: int) -> keras.KerasTensor:
    """Blurs and subsamples; see blur_pool."""
    return BlurPool(stride, dtype=self.dtype, name=name)(x)

  def pad(self, x: keras.KerasTensor, name: str,
          pixels: int) -> keras.KerasTensor:
    """Adds a border of zeros."""
    return keras.layers.ZeroPadding2D(pixels, dtype=self.dtype, name=name)(x)


class SubsampleAndPad(keras.layers.Layer):
  """Shortcut A: keeps every stride-th pixel and appends channels of zeros.

  [b, h, w, c] -> [b, ceil(h / stride), ceil(w / stride), filters].
  """

  def __init__(self, filters: int, stride: int, **kwargs):
    super().__init__(**kwargs)
    self.filters = filters
    self.stride = stride

  def call(self, x):
    """Returns the subsampled, padded tensor."""
    x = x[:, ::self.stride, ::self.stride, :]
    zeros = self.filters - x.shape[-1]
    return keras.ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, zeros)))
