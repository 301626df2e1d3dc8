"""ResNet-18 on CIFAR-10: the last of six in a tutorial.

L2 on the kernel of the last dense layer alone; everything else is as in
cifar10_baseline. The network has as many weights as that of the recipe
cifar10_resnet18, 11,173,962, but they start with Keras's initial values.

Hardware: meant for one GPU. Not measured here yet.

  python -m resnet.train --config=tutorials/cifar10_resnet18
"""
from configs import schema
from configs.tutorials import cifar10_baseline


def get_config() -> schema.Config:
  config = cifar10_baseline.get_config()
  config.model.name = 'resnet18_cifar10'
  # Keras's l2(0.01) adds 0.01 * sum(w**2) to the loss, 0.02 * w to gradients.
  config.optimizer.weight_decay = 2 * 0.01
  config.optimizer.decayed = ('logits/kernel',)
  return config
