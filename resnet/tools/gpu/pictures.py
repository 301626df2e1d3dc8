"""Which pictures stand in for a data set that is not given."""
import dataclasses
from typing import NamedTuple

from configs import schema
from configs.process.errors import UserError

NAME = 'synthetic_pictures'
_SMALL = {'cifar10': ((32, 32, 3), 10), 'cifar100': ((32, 32, 3), 100),
          'mnist': ((28, 28, 1), 10), 'fashion_mnist': ((28, 28, 1), 10)}
_CLASSES = 1000


class Kind(NamedTuple):
  """What pictures there are to be."""
  shape: tuple[int | None, int | None, int]
  classes: int
  is_photo: bool  # Of a size of its own, to be cropped and resized.


def of(config: schema.Config) -> Kind | None:
  """Returns what stands in for the data of a config; None: nothing is needed.

  Raises:
    UserError: the size of its images is not known.
  """
  data = config.data
  if data.name == 'digits':
    return None
  if data.image_size:
    return Kind((None, None, 3), _CLASSES, True)
  name = data.name.partition(':')[0]
  if name not in _SMALL:
    raise UserError(
        f'config.data.name={data.name} is not a data set whose image size is '
        f'known here ({", ".join(_SMALL)}): give its folder with --data_dir.')
  return Kind(*_SMALL[name], False)


def stand_in(config: schema.Config) -> schema.Config:
  """Returns a config that trains on synthetic pictures instead."""
  return dataclasses.replace(config, data=dataclasses.replace(
      config.data, name=NAME, train_split='train', eval_split='test'))
