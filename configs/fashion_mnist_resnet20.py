"""ResNet-20 on Fashion-MNIST, 28x28 gray images, 8 epochs, cosine schedule.

Measured on 2026-11-22 on 2 cores of an AMD EPYC (Zen 2), at 170 to 270 images/s
(30 to 50 minutes), in a run that was stopped and resumed twice. Evaluated on
all 10,000 test images:

  epoch        1       2       3       4       5       6       7       8
  accuracy  0.7556  0.8489  0.8752  0.8850  0.8994  0.9235  0.9273  0.9294
  loss      0.6356  0.4344  0.3479  0.3110  0.2748  0.2085  0.1976  0.1920

  python -m resnet.train --config=fashion_mnist_resnet20 --data_dir=DIR
"""
from configs import schema


def get_config() -> schema.Config:
  return schema.Config(
      model=schema.Model(family='cifar', depth=20, version='v1', block='basic',
                         width=16, stem='cifar', shortcut='A'),
      data=schema.Data(name='fashion_mnist', train_split='train',
                       eval_split='test'),
      augment=schema.Augment(crop_padding=2, flip=True),
      optimizer=schema.Optimizer(name='sgd', momentum=0.9, nesterov=True,
                                 weight_decay=5e-4),
      schedule=schema.Schedule(name='cosine', peak=0.1, warmup_epochs=0.5),
      global_batch=128, eval_batch=500, train_epochs=8)
