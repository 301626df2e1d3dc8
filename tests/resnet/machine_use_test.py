"""Operations are counted as published, and shares are of published peaks."""
import types
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from configs import schema
from resnet.reporting import model_summary
from resnet.run.measures import flops, limit, machine_use
from resnet.tools.gpu import findings, verdict

# Multiply-adds of ResNet-50 v1.5 for 224 pixels: 4.09 billion, torchvision.
_RESNET50 = 4_089_184_256
_STEM = 7 * 7 * 3 * 64 * 112**2
# What lies on the stem: a 1x1 convolution and a shortcut.
_ON_STEM = 64 * 64 * 56**2 + 64 * 256 * 56**2
_HEAD = 2048 * 1000
_BODY = ('stem', 'stage1', 'stage2', 'stage3', 'stage4')


def _config(**fields):
  return schema.Config(
      model=schema.Model(depth=50, version='v1.5', family='imagenet',
                         stem='imagenet', width=64, shortcut='B'), **fields)


@pytest.mark.parametrize('frozen, products', [
    ((), 3 * _RESNET50),
    (('stem',), 3 * _RESNET50 - 2 * _STEM - _ON_STEM),
    (_BODY, _RESNET50 + _HEAD)])  # No gradient but that of the head's kernel.
def test_training_takes_three_times_the_forward_pass_or_less(frozen, products):
  model = model_summary.build(
      _config(finetune=schema.FineTune(frozen=frozen)),
      {'image_shape': (224, 224, 3), 'classes': range(1000)})
  assert flops.of_image(model) == 2 * products


def _image_classifier():
  image = keras.Input((8, 8, 3))
  x = keras.layers.Conv2D(4, 3, padding='same')(image)
  x = keras.layers.BatchNormalization()(x)
  x = keras.layers.DepthwiseConv2D(2, strides=2)(x) * 2.0
  x = keras.layers.Flatten()(x)
  return keras.Model(image, keras.layers.Dense(5)(x))


# [8, 8, 4] of 27 products each; [4, 4, 4] of 4; 64 x 5.
_CONV, _DEPTHWISE, _DENSE = 8 * 8 * 4 * 27, 4 * 4 * 4 * 4, 64 * 5


def test_what_is_frozen_has_no_gradient_and_nothing_below_it_has():
  model = _image_classifier()
  assert flops.of_image(model) == 6 * (_CONV + _DEPTHWISE + _DENSE)
  conv, norm, depthwise = (model.layers[i] for i in (1, 2, 3))
  conv.kernel.trainable = False
  # Its bias is trained, so that what lies on it passes a gradient on.
  assert flops.of_image(model) == 2 * _CONV + 6 * (_DEPTHWISE + _DENSE)
  conv.trainable = norm.trainable = False
  assert flops.of_image(model) == 2 * _CONV + 4 * _DEPTHWISE + 6 * _DENSE
  depthwise.trainable = False
  assert flops.of_image(model) == 2 * (_CONV + _DEPTHWISE) + 4 * _DENSE


def test_a_network_in_a_network_is_counted():
  """The recipe's own networks are; see models/own.py."""
  inner = _image_classifier()
  image = keras.Input((8, 8, 3), name='image')
  model = keras.Model({'image': image}, inner(image))
  assert flops.of_image(model) == 6 * (_CONV + _DEPTHWISE + _DENSE)
  inner.layers[1].trainable = inner.layers[2].trainable = False
  assert flops.of_image(model) == 2 * _CONV + 4 * _DEPTHWISE + 6 * _DENSE
  # Below it, 64 pixels of 9 products that are trained.
  model = keras.Model(image, inner(keras.layers.Conv2D(3, 1)(image)))
  assert flops.of_image(model) == (
      6 * 64 * 9 + 4 * _CONV + 6 * (_DEPTHWISE + _DENSE))


class _Matrix(keras.layers.Layer):

  def build(self, shape):
    self.matrix = self.add_weight(shape=(shape[-1], 3))

  def call(self, x):
    return x @ self.matrix


def test_unknown_operations_are_not_guessed():
  image = keras.Input((4,))
  assert flops.of_image(keras.Model(image, _Matrix()(image))) is None
  twice = keras.layers.Dense(4)
  assert flops.of_image(keras.Model(image, twice(twice(image)))) is None
  inner = keras.Model(image, keras.layers.Dense(4)(image))
  assert flops.of_image(keras.Model(image, inner(inner(image)))) is None


def test_each_size_counts_for_its_own_updates():
  """Of 10 updates, 5 see 32 pixels and 5 see 64, four times as many."""
  config = _config(
      data=schema.Data(image_size=64, eval_size=64), global_batch=16,
      augment=schema.Augment(sizes=(32, 64)), train_steps=10)
  model = model_summary.build(
      config, {'image_shape': (64, 64, 3), 'classes': range(10)})
  found = flops.by_size(config, model, (64, 64, 3), 10)
  head = 6 * 2048 * 10
  small, large = found[32] or 0, found[64] or 0
  assert large == flops.of_image(model)
  assert large - head == 4 * (small - head)
  assert flops.of_steps(config, found, 3, 7, 10) == 16 * (2 * small + 2 * large)
  assert flops.of_steps(config, found, 5, 6, 10) == 16 * large
  assert flops.of_steps(config, {32: 1, 64: None}, 3, 7, 10) is None


# TFLOP/s of NVIDIA's data sheets, dense.
@pytest.mark.parametrize('gpu, precision, tflops', [
    ('Tesla V100-SXM2-16GB', 'float16', 125),
    ('Tesla V100-SXM2-32GB', 'float32', 15.7),  # It has no TF32.
    ('Tesla V100-PCIE-16GB', 'float16', 112),
    ('Tesla V100-SXM2-16GB', 'bfloat16', None),
    ('Tesla T4', 'float16', 65),
    ('NVIDIA A10', 'bfloat16', 125),
    ('NVIDIA A10G', 'bfloat16', None),
    ('NVIDIA A100-SXM4-80GB', 'bfloat16', 312),
    ('NVIDIA A100-SXM4-40GB', 'float32', 156),
    ('NVIDIA A100 80GB PCIe', 'float16', 312),
    ('A100-PCIE-40GB', 'float16', 312),
    ('NVIDIA A100-SXM4-40GB MIG 1g.5gb', 'float16', None),
    ('NVIDIA L4', 'float16', 121),
    ('NVIDIA L40', 'float16', None),
    ('NVIDIA L40S', 'float32', 183),
    ('NVIDIA H100 80GB HBM3', 'bfloat16', 989.5),
    ('NVIDIA H100 PCIe', 'bfloat16', 756.5),
    ('NVIDIA H100 NVL', 'bfloat16', None),
    ('NVIDIA H200', 'float32', 494.5),
    ('NVIDIA B200', 'bfloat16', 2250),
    ('NVIDIA GeForce RTX 4090', 'float32', None),
    ('', 'float32', None)])
def test_peaks_are_those_of_the_data_sheets(gpu, precision, tflops):
  found = flops.peak(gpu, precision, tensor_float32=True)
  assert found == (tflops and pytest.approx(tflops * 1e12, rel=1e-9))


def test_float32_without_tf32_has_the_peak_of_the_other_units():
  assert flops.peak('NVIDIA A100-SXM4-40GB', 'float32', False) == 19.5e12
  assert flops.peak('Tesla T4', 'float32', True) == 8.1e12


def _use(monkeypatch, gpus, devices=2, others=()):
  """Returns the MachineUse of a worker with these GPUs.

  Args:
    monkeypatch: pytest's.
    gpus: their names.
    devices: of this worker.
    others: what the other workers add to the exchange.
  """
  monkeypatch.setattr(machine_use, 'local_gpus', lambda devices: gpus)
  strategy = types.SimpleNamespace(extended=types.SimpleNamespace(
      worker_devices=('/device:GPU:0', '/device:GPU:1')[:devices]))
  group: Any = types.SimpleNamespace(strategy=strategy, exchange=lambda values:
                                np.array([values, *others], np.float64))
  config = _config(global_batch=10, precision='float16')
  return machine_use.MachineUse(
      config, group, _image_classifier(), (8, 8, 3), 100)


_IMAGE = 6 * (_CONV + _DEPTHWISE + _DENSE)


def test_the_share_is_of_the_peaks_of_all_devices_together(monkeypatch):
  use = _use(monkeypatch, ['Tesla T4', 'Tesla T4'])
  speed = 20 * 10 * _IMAGE / 4
  assert use.figures(20, 40, 4.0) == {
      'flops_per_second': speed,
      'flops_utilization': pytest.approx(speed / 130e12)}
  use = _use(monkeypatch, ['Tesla T4', 'Tesla T4'], others=([125e12],))
  assert use.figures(20, 40, 4.0)['flops_utilization'] == (
      pytest.approx(speed / 255e12))


@pytest.mark.parametrize('gpus, others', [
    ([], ()),  # CPUs.
    (['Tesla T4', 'NVIDIA A10G'], ()),
    (['Tesla T4', 'Tesla T4'], ([0.0],))])  # Another worker's is not known.
def test_no_share_of_an_unknown_peak(monkeypatch, gpus, others):
  use = _use(monkeypatch, gpus, others=others)
  assert list(use.figures(20, 40, 4.0)) == ['flops_per_second']


def test_a_network_that_cannot_be_counted_has_no_figures(monkeypatch):
  monkeypatch.setattr(flops, 'of_image', lambda model: 1 / 0)
  assert _use(monkeypatch, ['Tesla T4', 'Tesla T4']).figures(0, 1, 1.0) == {}


def _record(step, milliseconds, wait, speed=0.0, **more):
  return {'split': 'train', 'step': step, 'step_milliseconds': milliseconds,
          'input_wait_fraction': wait, **more,
          **({'flops_per_second': speed} if speed else {})}


@pytest.mark.parametrize('records, text', [
    ([], None),
    ([{'split': 'train', 'step': 10}], None),
    # 10 steps of 100 ms, 90 of 10 ms: 0.1 s + 0.018 s of 1.9 s.
    ([_record(10, 100, 0.1), _record(100, 10, 0.02)],
     'compute-bound: 6.2% of the training time waiting for input'),
    ([_record(10, 10, 0.3, 4e9), _record(20, 10, 0.1, 5e9),
      _record(30, 10, 0.2, 41e9)],
     'input-bound: 20.0% of the training time waiting for input; 5.0 GFLOP/s'),
    # Waiting is not measured under --deterministic.
    ([_record(10, 10, 0.0, 31.2e12, flops_utilization=0.1)],
     '31 TFLOP/s, 10.0% of the peak')])
def test_what_limits_training_is_said_with_the_number(records, text):
  assert limit.text(records) == text


def test_gpus_are_named_by_the_driver(monkeypatch):
  gpus = ['first', 'second']
  monkeypatch.setattr(tf.config, 'list_physical_devices', lambda kind: gpus)
  monkeypatch.setattr(tf.config, 'list_logical_devices', lambda kind: gpus)
  monkeypatch.setattr(tf.config.experimental, 'get_device_details',
                      lambda gpu: {'device_name': f'NVIDIA {gpu}'})
  devices = ('/job:worker/replica:0/task:1/device:GPU:1', '/device:CPU:0')
  assert machine_use.local_gpus(devices) == ['NVIDIA second']
  monkeypatch.setattr(tf.config, 'list_logical_devices', lambda kind: 2 * gpus)
  assert machine_use.local_gpus(devices) == []


def test_the_verdict_of_a_benchmark_has_the_rate():
  loop = findings.Finding('loop', 800.0, of={
      'measure': 'loop', 'devices': 1, 'processes': 1,
      'input_wait_fraction': 0.02, 'flops_per_second': 41e12,
      'flops_utilization': 0.331})
  first, *_ = verdict.of([loop], schema.Config(), 100)
  assert first.note.endswith(
      '2.0% of the time waiting for input, 41 TFLOP/s, 33.1% of the peak')
  assert first.of['flops_utilization'] == 0.331
