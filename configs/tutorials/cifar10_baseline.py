"""A small convolutional network on CIFAR-10: the first of six in a tutorial.

The others are cifar10_lenet5, cifar10_alexnet8, cifar10_vgg16,
cifar10_inception10 and cifar10_resnet18. All train with Adam at 1e-3 on pixels
as x / 255, for 5 epochs; they are evaluated on the test set after each, and the
checkpoint with the smallest loss is kept. 198,494 trainable weights.

After a stop, rerun the same command to continue, as in the tutorial. Two things
differ from it: a run that was stopped ends with the same bits as one that was
not, and each epoch is a true permutation. The second command leaves what the
tutorial leaves: curves, a summary of the network and all weights as text.

Measured on 2026-11-29 on 2 cores of an AMD EPYC that other work used too, in
about 2 minutes, and beside it a Keras script of the same settings. Accuracy of
the checkpoint with the smallest loss, on all 10,000 test images of a copy of
CIFAR-10 that went through JPEG; from one epoch to the next it moves by up to 7
points in both:

  seed        0       1       2
  here   0.5764  0.5391  0.5592
  Keras  0.5518  0.5636  0.5527

Another data set of color images of one size needs one override:
--config.data.name=cifar100

  python -m resnet.train --config=tutorials/cifar10_baseline
  python -m resnet.report --workdir=runs/tutorials/cifar10_baseline
"""
from configs import schema


def get_config() -> schema.Config:
  return schema.Config(
      model=schema.Model(name='baseline', batch_norm_momentum=0.99,
                         batch_norm_epsilon=1e-3),
      data=schema.Data(name='cifar10', train_split='train', eval_split='test',
                       mean=(0.0, 0.0, 0.0), stddev=(255.0, 255.0, 255.0)),
      optimizer=schema.Optimizer(name='adam', epsilon=1e-7, weight_decay=0.0),
      schedule=schema.Schedule(name='constant', peak=1e-3),
      monitor=schema.Monitor(metric='loss'),
      global_batch=32, eval_batch=500, train_epochs=5)
