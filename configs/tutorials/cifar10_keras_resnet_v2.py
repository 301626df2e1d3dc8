"""Keras's CIFAR-10 ResNet v2, with the table that everybody quotes: 200 epochs.

  network      n  200 epochs  paper        epoch on a GTX 1080 Ti
  ResNet-20    2  -           -             -
  ResNet-56    6  93.01 %     -            100 s
  ResNet-110  12  93.15 %     93.63 %      180 s
  ResNet-164  18  -           94.54 %       -
  ResNet-1001 111 -           95.08 +- .14  -

The figures are those of the table; not measured here yet. Trainable weights:
570,602 with 20 layers, 1,663,338 with 56, 3,302,442 with 110. The network is
not that of He et al. 2016, which cifar10_resnet56_v2 has: its stages are 64,
128 and 256 channels wide, and their bottlenecks 16, 64 and 128.

Everything else is as in cifar10_keras_resnet_v1, which also says what differs
from Keras's script.

Hardware: meant for one GPU. For other depths, 9n + 2, change both last flags:

  python -m resnet.train --config=tutorials/cifar10_keras_resnet_v2 \\
      --workdir=runs/keras_v2_56 --config.model.depth=56
"""
from configs import schema
from configs.tutorials import cifar10_keras_resnet_v1


def get_config() -> schema.Config:
  config = cifar10_keras_resnet_v1.get_config()
  config.model.name = 'keras_v2'
  return config
