"""ResNet-18 with a 3x3 stem on MNIST, 10 epochs: shifts of 2 pixels, no flips.

Hardware: meant for one GPU. Time and accuracy: not measured here.

  python -m resnet.train --config=mnist_resnet18 --strategy=mirrored
"""
from configs import cifar10_resnet18, schema


def get_config() -> schema.Config:
  config = cifar10_resnet18.get_config()
  config.data.name = 'mnist'
  config.augment = schema.Augment(crop_padding=2)
  config.train_epochs = 10
  return config
