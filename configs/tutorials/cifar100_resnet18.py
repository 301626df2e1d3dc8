"""ResNet-18 on CIFAR-100 as a TensorFlow tutorial has it: 5 epochs.

Adam at 0.01, batches of 128, pixels as x / 255, no augmentation, evaluated
every second epoch and at the end. All shortcuts are 1x1 convolutions with a
bias and without batch norm, also where nothing changes: 11,576,420 trainable
weights.

One thing differs from the tutorial: each epoch is a true permutation of all
images instead of the order that a shuffle buffer gives.

Hardware: meant for one GPU; on CIFAR-100 not measured here yet. One epoch with
--config.data.name=cifar10 --config.train_epochs=1 (a JPEG-lossy copy) took 9.5
minutes on 2026-11-29 on 2 cores of an AMD EPYC that other work used too; then
the test set's accuracy was 0.318 and its loss 1.912.

  python -m resnet.train --config=tutorials/cifar100_resnet18 \\
      --eval_every_epochs=2
"""
from configs import schema


def get_config() -> schema.Config:
  return schema.Config(
      model=schema.Model(name='resnet18_cifar100', batch_norm_momentum=0.99,
                         batch_norm_epsilon=1e-3),
      data=schema.Data(name='cifar100', train_split='train', eval_split='test',
                       mean=(0.0, 0.0, 0.0), stddev=(255.0, 255.0, 255.0)),
      optimizer=schema.Optimizer(name='adam', epsilon=1e-7, weight_decay=0.0),
      schedule=schema.Schedule(name='constant', peak=0.01),
      global_batch=128, eval_batch=500, train_epochs=5)
