"""AlexNet8 on CIFAR-10: the third of six in a tutorial.

Everything else is as in cifar10_baseline. 9,638,474 trainable weights.

Hardware: meant for one GPU. Not measured here yet.

  python -m resnet.train --config=tutorials/cifar10_alexnet8
"""
from configs import schema
from configs.tutorials import cifar10_baseline


def get_config() -> schema.Config:
  config = cifar10_baseline.get_config()
  config.model.name = 'alexnet8'
  return config
