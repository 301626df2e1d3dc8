"""Inception10 on CIFAR-10: the fifth of six in a tutorial.

Batches of 1024; everything else is as in cifar10_baseline. As in the tutorial,
which calls batch norm with training=False, it stays at its initial statistics,
and only its scale and offset learn. 120,234 trainable weights.

Hardware: meant for one GPU. Not measured here yet.

  python -m resnet.train --config=tutorials/cifar10_inception10
"""
from configs import schema
from configs.tutorials import cifar10_baseline


def get_config() -> schema.Config:
  config = cifar10_baseline.get_config()
  config.model.name = 'inception10'
  config.global_batch = 1024
  return config
