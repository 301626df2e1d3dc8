"""Data, configs and runs of a few updates, small enough to compare exactly."""
import dataclasses
import os

import numpy as np
import pytest
import tensorflow as tf

from configs import schema
from pipelines import sources
from resnet import network, trainer
from tests.resnet import strategies


def random_source(size, classes=2, side=8, seed=0):
  """Returns random gray images in memory, with random labels."""
  rng = np.random.default_rng(seed)
  return sources.InMemory(
      tf.constant(rng.integers(0, 256, (size, side, side, 1), np.uint8)),
      tf.constant(rng.integers(0, classes, size), tf.int32), classes)


def config(**changes):
  """Returns a config of 3 updates of 8 images, with fields changed."""
  return dataclasses.replace(schema.Config(
      model=schema.Model(depth=8, width=4), train_steps=3, global_batch=8,
      eval_batch=4, augment=schema.Augment(crop_padding=1, flip=True)),
                             **changes)


def build(settings, replicas, source, jit='false', first_step=0):
  """Returns (model, state, trainer.Train) of a run on CPU devices."""
  strategy = strategies.on_cpus(replicas)
  model, state = network.build(settings, strategy, source)
  return model, state, trainer.Train(
      settings, strategy, model, state, source, jit=jit,
      first_step=first_step)


def train(settings, replicas, jit='false', side=8, updates=3):
  """Makes some updates in one call; returns (model, state, means).

  For comparisons to rounding make one: after three, on some CPUs, a ReLU falls
  to the other side and the difference grows.
  """
  model, state, run = build(
      settings, replicas, random_source(37, side=side), jit)
  assert run(0, updates, stop=False).step == updates
  return model, state, run.means()


def skip_unless_cpu_convolves(dtype):
  """Skips the test where oneDNN was told to do without what a dtype needs.

  Under ONEDNN_MAX_CPU_ISA=AVX2 on a CPU with AVX-512, TensorFlow hands it
  bfloat16 convolutions that it then refuses.
  """
  try:
    tf.nn.conv2d(tf.zeros([1, 4, 4, 1], dtype), tf.ones([1, 1, 1, 1], dtype),
                 1, 'SAME')
  except tf.errors.AbortedError:
    pytest.skip(f'oneDNN refuses {dtype} here (ONEDNN_MAX_CPU_ISA='
                f'{os.environ.get("ONEDNN_MAX_CPU_ISA", "not set")})')


def skip_if_onednn_is_wrong():
  """Skips the test where oneDNN was told to use kernels that are wrong.

  Under ONEDNN_MAX_CPU_ISA=AVX2 on a CPU with AVX-512 its filter gradients of
  1x1 convolutions with stride 2 over 4 channels are wrong by the size of their
  values (TF 2.21), for batches of 4 and 8.
  """
  rng = np.random.default_rng(0)
  for batch in (4, 8):
    x = rng.normal(size=(batch, 8, 8, 4)).astype(np.float32)
    dy = rng.normal(size=(batch, 4, 4, 8)).astype(np.float32)
    found = tf.raw_ops.Conv2DBackpropFilter(
        input=x, filter_sizes=[1, 1, 4, 8], out_backprop=dy,
        strides=[1, 2, 2, 1], padding='VALID').numpy()[0, 0]
    expected = np.einsum('bhwi,bhwo->io', x[:, ::2, ::2], dy)
    wrong = np.abs(found - expected).max()
    if wrong > 1e-2 and 'ONEDNN_MAX_CPU_ISA' in os.environ:
      pytest.skip(f'oneDNN computes filter gradients wrong by {wrong:.1f} here '
                  f'({os.environ["ONEDNN_MAX_CPU_ISA"]=})')
