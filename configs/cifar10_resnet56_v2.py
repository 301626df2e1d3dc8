"""Pre-activation ResNet-56 (bottleneck) on CIFAR-10: He et al. 2016.

arXiv:1603.05027, with the schedule of He et al. 2015. The warm-up of 400
updates in the paper's appendix is one linear epoch (391 updates) here.
Hardware: meant for one GPU. Time and accuracy: not measured here.

Other depths (9n + 2) need one override: 110, 164 or 1001.

  python -m resnet.train --config=cifar10_resnet56_v2 --strategy=mirrored \\
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
