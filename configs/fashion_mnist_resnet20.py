"""ResNet-20 on Fashion-MNIST, 28x28 grey images, cosine schedule.

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
