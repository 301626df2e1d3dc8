"""ResNet-20 on CIFAR-10: section 4.2 of He et al. 2015, arXiv:1512.03385.

64,000 updates of 128 images (164 epochs). The paper reports a test error of
8.75 %. Hardware: meant for one GPU. Time and accuracy: not measured here.

Other depths of the paper (6n + 2) need one override: 32, 44, 56, 110 or 1202.
For 110 and 1202, also add a warm-up: --config.schedule.warmup_epochs=1.

  python -m resnet.train --config=cifar10_resnet20 --strategy=mirrored \\
      --config.model.depth=56
"""
from configs import schema


def get_config() -> schema.Config:
  return schema.Config(
      model=schema.Model(family='cifar', depth=20, version='v1', block='basic',
                         width=16, stem='cifar', shortcut='A'),
      data=schema.Data(name='cifar10', train_split='train', eval_split='test',
                       center='pixel'),
      augment=schema.Augment(crop_padding=4, flip=True),
      optimizer=schema.Optimizer(name='sgd', momentum=0.9, weight_decay=1e-4),
      schedule=schema.Schedule(name='step', peak=0.1, drop_factors=(0.1,),
                               drops_at=(32 / 64, 48 / 64)),
      global_batch=128, eval_batch=500, train_steps=64_000)
