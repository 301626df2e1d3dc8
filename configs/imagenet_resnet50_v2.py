"""Pre-activation ResNet-50 on ImageNet: He et al. 2016, arXiv:1603.05027.

The schedule is that of imagenet_resnet50. Hardware: meant for 8 GPUs of 16 GiB.
Time and top-1 accuracy: not measured here.

  python -m resnet.train --config=imagenet_resnet50_v2 --strategy=mirrored
"""
from configs import imagenet_resnet50, schema


def get_config() -> schema.Config:
  config = imagenet_resnet50.get_config()
  config.model.version = 'v2'
  config.model.zero_init_last_gamma = False
  return config
