"""A border of zeros around images that all have one size: config.data.pad_to.

It belongs to the data set: the mean and standard deviation are measured with
it, and augmentation and network see images of the larger size only.
"""
from collections.abc import Sequence

from configs.process.errors import UserError

Margins = tuple[tuple[int, int], ...]


def margins(name: str, shape: Sequence[int], pad_to: int) -> Margins:
  """Returns how many pixels are added before and after those of each axis.

  Args:
    name: of the data set.
    shape: (h, w, c) of its images.
    pad_to: height and width with the border; if the number of added pixels is
      odd, the last one is at the bottom or right. 0: no border.

  Raises:
    UserError: the images are larger than that.
  """
  if not pad_to:
    return ((0, 0),) * 3
  height, width = shape[:2]
  if max(height, width) > pad_to:
    raise UserError(
        f'config.data.pad_to={pad_to} is smaller than the images of {name}, '
        f'which have {height} x {width} pixels: give at least '
        f'{max(height, width)}, or 0 for no border.')
  added = (pad_to - height, pad_to - width, 0)
  return tuple((n // 2, n - n // 2) for n in added)
