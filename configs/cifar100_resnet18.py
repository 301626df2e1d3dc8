"""ResNet-18 with a 3x3 stem on CIFAR-100: cifar10_resnet18 with 100 classes.

Hardware: meant for one GPU. Time and accuracy: not measured here.

  python -m resnet.train --config=cifar100_resnet18 --strategy=mirrored
"""
from configs import cifar10_resnet18, schema


def get_config() -> schema.Config:
  config = cifar10_resnet18.get_config()
  config.data.name = 'cifar100'
  return config
