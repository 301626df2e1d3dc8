"""ResNeXt-50 32x4d on ImageNet: Xie et al. 2017, arXiv:1611.05431.

The recipe of imagenet_resnet50 with 3x3 convolutions of twice the channels in
32 groups: 25,028,904 weights, and about as many multiply-adds as ResNet-50.
Hardware: meant for 8 GPUs of 16 GiB (128 images each). Time and top-1 accuracy:
not measured here.

  python -m resnet.train --config=imagenet_resnext50 --strategy=mirrored \\
      --config.precision=bfloat16

ResNeXt-101 32x8d: --config.model.depth=101 --config.model.inner_width=4
"""
from configs import imagenet_resnet50, schema


def get_config() -> schema.Config:
  config = imagenet_resnet50.get_config()
  config.model.groups = 32
  config.model.inner_width = 2
  return config
