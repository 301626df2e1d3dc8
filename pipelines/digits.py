"""The embedded digits: 1,797 images [8, 8, 1] of 10 classes."""
import pathlib

import numpy as np

from configs.process.errors import UserError
from pipelines import in_memory, padding

_DIGITS = pathlib.Path(__file__).parent / 'digits.npz'


def load(split: str, image_size: int, pad_to: int = 0) -> in_memory.InMemory:
  """Loads one split: every fifth image is for testing.

  Args:
    split: 'train' or 'test'.
    image_size: must be 0, as they are not resized.
    pad_to: see padding.margins.

  Raises:
    UserError: the split does not exist, or the images cannot get that size.
  """
  if image_size:
    raise UserError(
        f'config.data.image_size={image_size} crops and resizes pictures on '
        'disk, but the embedded digits are all 8 x 8 pixels: set it to 0.')
  with np.load(_DIGITS) as archive:
    images, labels = archive['x'], archive['y']
  # 0..16 as stored; 0..255 like every other data set.
  images = (images.astype(np.uint16) * 255 // 16).astype(np.uint8)[..., None]
  test = np.arange(len(labels)) % 5 == 0
  parts = {'train': ~test, 'test': test}
  if split not in parts:
    raise UserError(
        f'Split {split!r} of digits does not exist: choose one of '
        f'{", ".join(parts)}.')
  border = padding.margins('digits', images.shape[1:], pad_to)
  images = np.pad(images[parts[split]], ((0, 0), *border))
  return in_memory.of_arrays(images, labels[parts[split]], 10)
