"""LeNet-5 with sigmoids on CIFAR-10: the second of six in a tutorial.

Everything else is as in cifar10_baseline. 62,006 trainable weights.

Measured on 2026-11-29 on 2 cores of an AMD EPYC that other work used too, in 78
seconds: accuracy 0.467 and loss 1.460 on all 10,000 test images of a copy of
CIFAR-10 that went through JPEG (seed 0, 5 epochs).

  python -m resnet.train --config=tutorials/cifar10_lenet5
"""
from configs import schema
from configs.tutorials import cifar10_baseline


def get_config() -> schema.Config:
  config = cifar10_baseline.get_config()
  config.model.name = 'lenet5'
  return config
