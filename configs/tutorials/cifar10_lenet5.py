"""LeNet-5 with sigmoids on CIFAR-10: the second of six in a tutorial.

Everything else is as in cifar10_baseline. 62,006 trainable weights.

Hardware: two CPU cores are enough. Not measured here yet.

  python -m resnet.train --config=tutorials/cifar10_lenet5
"""
from configs import schema
from configs.tutorials import cifar10_baseline


def get_config() -> schema.Config:
  config = cifar10_baseline.get_config()
  config.model.name = 'lenet5'
  return config
