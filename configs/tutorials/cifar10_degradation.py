"""The degradation experiment of He et al. 2015: depth without shortcuts.
"""
from configs import cifar10_resnet20, schema


def get_config() -> schema.Config:
  config = cifar10_resnet20.get_config()
  config.model.shortcut = 'none'
  config.train_steps, config.train_epochs = 0, 3
  return config
