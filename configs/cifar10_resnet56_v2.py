"""Pre-activation ResNet-56 (bottleneck) on CIFAR-10: He et al. 2016.

arXiv:1603.05027, with the schedule of He et al. 2015 and the warm-up of 400
updates that the paper's appendix uses (here one epoch, 391 updates, linear).
Accuracy: not measured here. Depths 110, 164 and 1001 (9n+2) are one override.

  python -m resnet.train --config=cifar10_resnet56_v2 --strategy=mirrored \
      --config.model.depth=164
"""
from configs import cifar10_resnet20, schema


def get_config() -> schema.Config:
  config = cifar10_resnet20.get_config()
  config.model = schema.Model(
      family='cifar', depth=56, version='v2', block='bottleneck', width=16,
      stem='cifar', shortcut='B')
  config.schedule.warmup_epochs = 1
  return config
