"""ResNet-18 on CIFAR-10 with flips as a TensorFlow tutorial has it: 500 epochs.

Adam at 1e-3, batches of 256, random flips, channels standardized by ImageNet's
mean and standard deviation, validated on the test set after each epoch. The
tutorial reports an accuracy near 90 %, stable after 400 epochs. The convolution
of the stem has no padding, and those of the shortcuts have no batch norm:
11,176,970 trainable weights.

Three things differ from the tutorial. Each epoch is a true permutation; there,
10,000 images are shuffled at a time. Test images are not flipped; the tutorial
preprocesses them as it does those for training. And softmax is applied once;
there, the network ends with it, and the loss applies it again.

Hardware: meant for one GPU. One epoch with --config.train_epochs=1 on a
JPEG-lossy copy took about 12 minutes on 2026-11-29 on 2 cores of an AMD EPYC;
then the test set's accuracy was 0.3185 and its loss 2.106.

  python -m resnet.train --config=tutorials/cifar10_resnet18_flip
"""
from configs import schema


def get_config() -> schema.Config:
  return schema.Config(
      model=schema.Model(name='resnet18_flip', batch_norm_momentum=0.99,
                         batch_norm_epsilon=1e-3),
      data=schema.Data(
          name='cifar10', train_split='train', eval_split='test',
          mean=(0.485 * 255, 0.456 * 255, 0.406 * 255),
          stddev=(0.229 * 255, 0.224 * 255, 0.225 * 255)),
      augment=schema.Augment(flip=True),
      optimizer=schema.Optimizer(name='adam', epsilon=1e-7, weight_decay=0.0),
      schedule=schema.Schedule(name='constant', peak=1e-3),
      global_batch=256, eval_batch=500, train_epochs=500)
