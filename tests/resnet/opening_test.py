"""The first words of a run, and the lines that say what it is."""
import dataclasses
import io
import subprocess
import sys

import keras
import pytest
import tensorflow as tf

from configs import schema
from configs.process import version
from resnet.distribution import strategy as strategy_lib
from resnet.execution import options
from resnet.run.screen import first_words, start_block

_TWO = {'workers': 1, 'devices': ['CPU:0', 'CPU:1']}
_FOUR = {'workers': 2, 'devices': ['CPU:0', 'CPU:1']}
_DATA = {'classes': list('abcdefghij'), 'image_shape': [8, 8, 1],
         'train': {'examples': 1437}, 'eval': {'examples': 360}}


def _lines(replicas=_TWO, counts=(77_754, 763_520), step=0, **fields):
  config = schema.Config(global_batch=128, **fields)
  return start_block.text(
      config, _DATA, replicas, counts, strategy='mirrored',
      epochs=8.0167, step=step, total_steps=90, path='/runs/a').splitlines()


def test_a_start_says_what_is_trained_on_what():
  assert _lines() == [
      'network     ResNet-20 v1: 77,754 weights, 763,520 multiply-adds an '
      'image',
      'data        digits: 1,437 examples to train on, 360 to evaluate',
      'images      8 x 8 x 1, 10 classes',
      'devices     CPU:0, CPU:1; mirrored, float32',
      'batch       128: 2 x 64 images per step',
      'length      training for 90 steps (8.017 epochs)',
      'run folder  /runs/a']


def test_a_resumed_run_says_from_where():
  lines = _lines(_FOUR, step=30)
  assert lines[3].startswith('devices     CPU:0, CPU:1 of each of 2 workers; ')
  assert lines[4:6] == ['batch       128: 4 x 32 images per step',
                        'length      resuming at step 30 of 90 steps '
                        '(8.017 epochs)']


def test_what_is_not_known_or_frozen_is_said_so():
  frozen = dataclasses.replace(schema.Config().finetune, frozen=('stem',))
  network = _lines(counts=(1234, None), finetune=frozen)[0]
  assert network == 'network     ResNet-20 v1: 1,234 trained weights'


def test_strategies_are_called_what_the_flag_calls_them():
  made = [strategy_lib.make(name, (), 0) for name in options.STRATEGIES[:2]]
  assert [start_block.strategy_name(one) for one in made] == list(
      options.STRATEGIES[:2])
  assert start_block.strategy_name(object()) == 'object'
  known = tf.distribute.MultiWorkerMirroredStrategy
  assert start_block._STRATEGIES[known.__name__] == options.STRATEGIES[2]


def test_many_devices_fit_a_line():
  names = [f'GPU:{i}' for i in range(16)]
  assert start_block.devices_text({'workers': 1, 'devices': names}) == (
      'GPU:0, ..., GPU:15')
  assert start_block.devices_text({'workers': 1, 'devices': names[:8]}) == (
      ', '.join(names[:8]))


def test_counts_of_a_network_are_those_worked_out_by_hand():
  inputs = keras.Input((6, 6, 3))
  outputs = keras.layers.Dense(5)(keras.layers.GlobalAveragePooling2D()(
      keras.layers.Conv2D(4, 3, padding='same')(inputs)))
  weights = 3 * 3 * 3 * 4 + 4 + 4 * 5 + 5
  assert start_block.counts_of(keras.Model(inputs, outputs)) == (
      weights, 6 * 6 * 3 * 3 * 3 * 4 + 4 * 5)
  inputs = keras.Input((None, None, 3))
  outputs = keras.layers.Dense(5)(keras.layers.GlobalAveragePooling2D()(
      keras.layers.Conv2D(4, 3, padding='same')(inputs)))
  assert start_block.counts_of(keras.Model(inputs, outputs)) == (weights, None)


def test_first_words_have_the_time_unless_on_a_terminal(monkeypatch):
  words = f'resnet-trainer {version.VERSION}: starting r in runs/r\n'
  stream = io.StringIO()
  first_words.say('r', 'runs/r', stream)
  stamp, _, rest = stream.getvalue().partition(' ')
  assert len(stamp) == len('2026-11-29T13:05:00+01:00') and rest == words
  stream = io.StringIO()
  monkeypatch.setattr(stream, 'isatty', lambda: True)
  monkeypatch.setenv('TERM', 'xterm')
  first_words.say('r', 'runs/r', stream)
  assert stream.getvalue() == words


_FIRST = """
import importlib, sys
from resnet.run.screen import first_words
def say(*_):
  sys.exit(1 if {'tensorflow', 'numpy'} & set(sys.modules) else 7)
first_words.say = say
from configs.process import command_line
train = importlib.import_module('resnet.train')
command_line.run(train.main, train.parse)
"""


@pytest.mark.parametrize('flags', [(), ('--strategy=mirrored',)])
def test_first_words_come_before_tensorflow_is_imported(flags, tmp_path):
  done = subprocess.run(
      [sys.executable, '-c', _FIRST, f'--workdir={tmp_path}', *flags],
      capture_output=True, text=True, check=False)
  assert (done.returncode, done.stderr) == (7, '')
