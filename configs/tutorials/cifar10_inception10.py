"""Inception10 on CIFAR-10: the fifth of six in a tutorial.

Batches of 1024; everything else is as in cifar10_baseline. As in the tutorial,
which calls batch norm with training=False, it stays at its initial statistics,
and only its scale and offset learn. 120,234 trainable weights.

Measured on 2026-11-29 on 2 cores of an AMD EPYC that other work used too, in 6
minutes: accuracy 0.430 and loss 1.536 on all 10,000 test images of a copy of
CIFAR-10 that went through JPEG (seed 0, 5 epochs).

  python -m resnet.train --config=tutorials/cifar10_inception10
"""
from configs import schema
from configs.tutorials import cifar10_baseline


def get_config() -> schema.Config:
  config = cifar10_baseline.get_config()
  config.model.name = 'inception10'
  config.global_batch = 1024
  return config
