"""ResNet-50 v1.5 on ImageNet, 90 epochs: Goyal et al. 2017, arXiv:1706.02677.

The learning rate scales linearly, 0.1 for each 256 images of the global batch,
after 5 warm-up epochs; the last gamma of each residual block starts at zero.
Hardware: meant for 8 GPUs of 16 GiB (128 images each). Time and top-1 accuracy:
not measured here.

  python -m resnet.train --config=imagenet_resnet50 --strategy=mirrored \\
      --config.precision=bfloat16
"""
from configs import schema


def get_config() -> schema.Config:
  global_batch = 1024
  return schema.Config(
      model=schema.Model(family='imagenet', depth=50, version='v1.5', width=64,
                         stem='imagenet', shortcut='B',
                         zero_init_last_gamma=True),
      data=schema.Data(name='imagenet2012', train_split='train',
                       eval_split='validation', image_size=224,
                       mean=(123.675, 116.28, 103.53),
                       stddev=(58.395, 57.12, 57.375)),
      augment=schema.Augment(flip=True),
      optimizer=schema.Optimizer(name='sgd', momentum=0.9, nesterov=True,
                                 weight_decay=1e-4),
      schedule=schema.Schedule(name='step', peak=0.1 * global_batch / 256,
                               drops_at=(30 / 90, 60 / 90, 80 / 90),
                               drop_factors=(0.1,), warmup_epochs=5),
      global_batch=global_batch, eval_batch=1000, train_epochs=90)
