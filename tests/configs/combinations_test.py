"""Settings that do not fit together are refused, each in one sentence."""
import dataclasses

import pytest

from configs import combinations, schema
from configs.process.errors import UserError

_PHOTOS = {'data.image_size': 224}


def _config(fields):
  """Returns a config with {'group.name': value} set."""
  config = schema.Config(train_steps=1)
  for path, value in fields.items():
    group, _, name = path.partition('.')
    changed = dataclasses.replace(getattr(config, group), **{name: value})
    config = dataclasses.replace(config, **{group: changed})
  return config


@pytest.mark.parametrize('fields', [
    {'augment.smallest_crop': 0.3, 'augment.largest_crop': 0.3, **_PHOTOS},
    {'augment.crop_ratio': (1.0, 1.0), **_PHOTOS},
    {'data.eval_crop': 1.0, 'data.eval_size': 288, 'data.interpolation':
     'bicubic', **_PHOTOS},
    {'augment.mix_probability': 0.5, 'augment.mix_epochs': 3.5,
     'augment.cutmix': 1.0},
    {'augment.shift': 0.1, 'augment.crop_padding': 4},
    {'data.center': 'pixel', **_PHOTOS},
    {'data.pad_to': 32}, {'model.name': 'resnet18_flip', 'model.depth': 18},
    {'data.name': 'synthetic', 'synthetic.examples': 10**6,
     'synthetic.size': 64},
    {'data.name': 'synthetic', 'synthetic.size': 224, **_PHOTOS},
    {'data.name': 'synthetic', **_PHOTOS},
])
def test_what_fits_together_is_allowed(fields):
  combinations.check(_config(fields))


@pytest.mark.parametrize('fields, sentence', [
    ({'augment.largest_crop': 0.05, **_PHOTOS},
     'config.augment.largest_crop=0.05 is less than '
     'config.augment.smallest_crop=0.08: give a larger or a smaller one.'),
    ({'augment.crop_ratio': (1.5, 0.75), **_PHOTOS},
     'config.augment.crop_ratio=(1.5, 0.75) is not a range: give two values, '
     'the smaller one first, such as 0.75,1.333.'),
    ({'augment.crop_ratio': (), **_PHOTOS},
     'config.augment.crop_ratio=() is not a range: give two values, '
     'the smaller one first, such as 0.75,1.333.'),
    ({'augment.mix_probability': 0.5},
     'config.augment.mix_probability=0.5 has no effect: set it to 1.0, or '
     'give config.augment.mixup=0.2, say.'),
    ({'augment.mix_epochs': 3.0},
     'config.augment.mix_epochs=3.0 has no effect: set it to 0.0, or give '
     'config.augment.mixup=0.2, say.'),
    *(({path: value}, f'config.{path}={value} has no effect: set it to '
       f'{default}, or give config.data.image_size=224, say.')
      for path, value, default in (
          ('augment.largest_crop', 0.5, 1.0),
          ('augment.crop_ratio', (1.0, 2.0), (0.75, 4 / 3)),
          ('data.eval_crop', 1.0, 0.875), ('data.eval_size', 288, 0),
          ('data.interpolation', 'bicubic', 'bilinear'))),
    *(({f'synthetic.{name}': 7}, f'config.synthetic.{name}=7 has no effect: '
       f'set it to {default}, or give config.data.name=synthetic, say.')
      for name, default in (
          ('examples', 1000), ('size', 32), ('channels', 3), ('classes', 10))),
    *(({'model.name': 'vgg16', f'model.{name}': value},
       f'config.model.{name}={value} has no effect: set it to {default}, or '
       'give config.model.name=resnet, say.') for name, value, default in (
           ('inner_width', 2, 1), ('groups', 32, 1), ('squeeze_excite', 16, 0),
           ('blur_pool', True, False), ('stochastic_depth', 0.1, 0.0),
           ('dropout', 0.5, 0.0))),
    ({'data.name': 'synthetic', 'synthetic.size': 64, **_PHOTOS},
     'config.synthetic.size=64 has no effect, because '
     'config.data.image_size=224 determines the size: set image_size to the '
     'size that you want.'),
    ({'data.name': 'synthetic', 'data.pad_to': 40},
     'config.data.pad_to=40 pads no synthetic images, which are made in any '
     'size: set config.synthetic.size, and pad_to to 0.'),
    ({'data.pad_to': 300, **_PHOTOS},
     'config.data.pad_to=300 does not work with config.data.image_size=224, '
     'which gives images their size by cropping and resizing: set one of them '
     'to 0.'),
    ({'model.name': 'resnet18_flip', 'model.depth': 50},
     'config.model.depth=50 has no effect with config.model.name='
     'resnet18_flip, which has 18 layers: set it to 18, or give '
     'config.model.name=resnet.'),
    ({'data.center': 'pixel', 'data.eval_size': 288, **_PHOTOS},
     'config.data.center=pixel subtracts a mean of one size, but there are '
     'images of 224 and 288 pixels: give --config.data.center=channel.'),
])
def test_what_does_not_fit_is_refused(fields, sentence):
  with pytest.raises(UserError) as error:
    combinations.check(_config(fields))
  assert str(error.value) == sentence


def test_a_shift_of_less_than_a_pixel_is_refused():
  config = _config({'augment.shift': 0.03})
  combinations.check_images(config, 40, 34)
  with pytest.raises(UserError) as error:
    combinations.check_images(config, 40, 33)
  assert str(error.value) == (
      'config.augment.shift=0.03 is less than one pixel of images of 33 '
      'pixels a side: give at least 0.031, or 0.')


def test_images_of_training_may_be_smaller_than_those_of_evaluation():
  config = _config({
      'data.image_size': 32, 'data.eval_size': 48, 'augment.cutout': 40})
  with pytest.raises(UserError, match='larger than images of 32 pixels'):
    combinations.check_images(config, 48, 48)
