"""ResNet-18 with a 3x3 stem on CIFAR-10, 200 epochs, cosine schedule.

The ImageNet network (64 to 512 channels) on images of 32 x 32 pixels: 11.2 M
weights. Hardware: meant for one GPU. Time and accuracy: not measured here.

  python -m resnet.train --config=cifar10_resnet18 --strategy=mirrored
"""
from configs import schema


def get_config() -> schema.Config:
  return schema.Config(
      model=schema.Model(family='imagenet', depth=18, version='v1', width=64,
                         stem='cifar', shortcut='B'),
      data=schema.Data(name='cifar10', train_split='train', eval_split='test'),
      augment=schema.Augment(crop_padding=4, flip=True),
      optimizer=schema.Optimizer(name='sgd', momentum=0.9, nesterov=True,
                                 weight_decay=5e-4),
      schedule=schema.Schedule(name='cosine', peak=0.1, warmup_epochs=1),
      global_batch=128, eval_batch=500, train_epochs=200)
