"""Squeeze-and-excitation (Hu et al. 2018, arXiv:1709.01507)."""
import keras

from resnet.models.layers import he_normal, Layers


def squeeze_excite(layers: Layers, x: keras.KerasTensor, name: str,
                   reduction: int) -> keras.KerasTensor:
  """Scales each channel by a number in (0, 1), which depends on all of them.

  The number is sigmoid(expand(relu(reduce(mean over pixels)))): two dense
  layers with biases, through channels // reduction units.

  Args:
    layers: the settings that layers share.
    x: float [b, h, w, c].
    name: prefix of the names of its layers.
    reduction: at most c.

  Returns:
    Like x.
  """
  channels = x.shape[-1]
  y = keras.layers.GlobalAveragePooling2D(
      keepdims=True, dtype=layers.dtype, name=f'{name}_mean')(x)
  for part, units, activation in (
      ('reduce', channels // reduction, 'relu'),
      ('expand', channels, 'sigmoid')):
    y = keras.layers.Dense(
        units, activation, dtype=layers.dtype, name=f'{name}_{part}',
        kernel_initializer=he_normal(),  # pyright: ignore[reportArgumentType]
    )(y)
  return keras.layers.Multiply(dtype=layers.dtype, name=name)([x, y])
