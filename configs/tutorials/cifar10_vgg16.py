"""VGG16 on CIFAR-10: the fourth of six in a tutorial.

Everything else is as in cifar10_baseline. 15,253,578 trainable weights.

Hardware: meant for one GPU. Not measured here yet.

  python -m resnet.train --config=tutorials/cifar10_vgg16
"""
from configs import schema
from configs.tutorials import cifar10_baseline


def get_config() -> schema.Config:
  config = cifar10_baseline.get_config()
  config.model.name = 'vgg16'
  return config
