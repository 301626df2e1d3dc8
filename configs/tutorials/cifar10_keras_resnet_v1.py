"""Keras's CIFAR-10 ResNet v1, with the table that everybody quotes: 200 epochs.

  network     n  200 epochs  paper        epoch on a GTX 1080 Ti
  ResNet-20   3  92.16 %     91.25 %       35 s
  ResNet-32   5  92.46 %     92.49 %       50 s
  ResNet-44   7  92.50 %     92.83 %       70 s
  ResNet-56   9  92.71 %     93.03 %       90 s
  ResNet-110 18  92.65 %     93.39 +- .16 165 s
  ResNet-164 27  -           94.07 %       -

The figures are those of the table; not measured here yet. 273,066 trainable
weights with 20 layers, 857,706 with 56. cifar10_keras_resnet_v2 has the
network v2; cifar10_resnet20 has that of He et al. 2015.

Adam, batches of 32, pixels as x / 255 minus the mean of each pixel, shifts by
up to a tenth, flips. The rate is reduced after 80, 120, 160 and 180 epochs. The
most accurate checkpoint is kept.

Two things differ from Keras's script. Each epoch is a true permutation. And
the plateau rule is left out: in the script it has no effect, because the
schedule sets the rate again before each epoch. These flags add a rule that acts
(then the checkpoint with the smallest loss is kept):

  --config.monitor.metric=loss --config.monitor.plateau_evals=5 \\
  --config.monitor.plateau_factor=0.3162 --config.monitor.plateau_floor=0.5e-6

Hardware: meant for one GPU. For other depths, 6n + 2, change both last flags:

  python -m resnet.train --config=tutorials/cifar10_keras_resnet_v1 \\
      --workdir=runs/keras_v1_56 --config.model.depth=56
"""
from configs import schema


def get_config() -> schema.Config:
  return schema.Config(
      model=schema.Model(name='keras_v1', depth=20, batch_norm_momentum=0.99,
                         batch_norm_epsilon=1e-3),
      data=schema.Data(name='cifar10', train_split='train', eval_split='test',
                       center='pixel', stddev=(255.0, 255.0, 255.0)),
      augment=schema.Augment(shift=0.1, flip=True),
      optimizer=schema.Optimizer(
          name='adam', epsilon=1e-7,
          # Keras's l2(1e-4) adds 1e-4 * sum(w**2) to the loss: 2e-4 * w to the
          # gradient. It is on convolutions alone, not on the dense layer.
          weight_decay=2 * 1e-4, decayed=('stem/kernel', 'stage*/kernel')),
      schedule=schema.Schedule(
          name='step', peak=1e-3, drop_factors=(0.1, 0.1, 0.1, 0.5),
          drops_at=(80 / 200, 120 / 200, 160 / 200, 180 / 200)),
      global_batch=32, eval_batch=500, train_epochs=200)
