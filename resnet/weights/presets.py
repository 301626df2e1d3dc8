"""How images are standardized before networks that others have trained.

All in units of 0 to 255, in the order red, green, blue; images are
(image - mean) / stddev.

  TORCHVISION  torchvision's and timm's ResNets: x / 255, then the mean (0.485,
               0.456, 0.406) and deviation (0.229, 0.224, 0.225) of ImageNet
  CAFFE        keras.applications' ResNet50, 101 and 152: the mean of ImageNet
               as in Caffe, no deviation. There the channels are blue, green,
               red: the first kernel is reordered when it is read
"""
from typing import NamedTuple

import numpy as np


class Preset(NamedTuple):
  """What is subtracted from images, and then divides them; float32 [3]."""
  mean: np.ndarray
  stddev: np.ndarray


def _preset(mean, stddev):
  return Preset(np.array(mean, np.float32), np.array(stddev, np.float32))


TORCHVISION = _preset([255 * x for x in (0.485, 0.456, 0.406)],
                      [255 * x for x in (0.229, 0.224, 0.225)])
CAFFE = _preset((123.68, 116.779, 103.939), (1, 1, 1))
