"""ResNet-8 on the embedded 8x8 digits: the default, for a first look and tests.

Trains on 1,437 images and tests on 360 (every fifth image of the set). Measured
on 2026-11-22 on 2 cores of an AMD EPYC (Zen 2): test accuracy 0.9917 after 30
epochs (357 of 360), 13 seconds after TensorFlow had started.

  python -m resnet.train
"""
from configs import schema


def get_config() -> schema.Config:
  return schema.Config(
      model=schema.Model(family='cifar', depth=8, version='v1', width=16,
                         stem='cifar', shortcut='B'),
      data=schema.Data(name='digits', train_split='train', eval_split='test'),
      augment=schema.Augment(crop_padding=1),
      optimizer=schema.Optimizer(name='sgd', momentum=0.9, nesterov=True,
                                 weight_decay=5e-4),
      schedule=schema.Schedule(name='cosine', peak=0.1, warmup_epochs=2),
      global_batch=64, eval_batch=360, train_epochs=30)
