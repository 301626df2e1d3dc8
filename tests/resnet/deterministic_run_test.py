"""Runs with --deterministic that XLA compiles, max-pooling among it."""
import functools
import json
import os
import pathlib
import socket

import numpy as np
import pytest
import tensorflow as tf

from tests import processes

pytestmark = pytest.mark.slow
_STEPS = 6
_FLAGS = (
    '--config.model.name=baseline', '--config.train_epochs=0',
    f'--config.train_steps={_STEPS}', '--config.schedule.warmup_epochs=0',
    '--config.global_batch=16', '--config.eval_batch=360', '--jit=true',
    '--eval_every_epochs=0', '--save_every_steps=3', '--log_every_steps=1',
    '--deterministic')


def _train(workdir, *flags, **how):
  return processes.run('resnet.train', *_FLAGS, f'--workdir={workdir}', *flags,
                       **how)


def _weights(workdir):
  reader = tf.train.load_checkpoint(
      os.fspath(workdir / f'checkpoints/ckpt-{_STEPS}'))
  return {name: reader.get_tensor(name)
          for name in reader.get_variable_to_shape_map()
          if name != 'identity'}


def _note_flags(folder, name, done):
  del done
  pathlib.Path(folder, name).write_text(os.environ['XLA_FLAGS'])


def _die_at(step, done):
  if done == step:
    os._exit(9)


def test_a_run_that_was_killed_ends_with_the_same_bits(tmp_path):
  whole = _train(tmp_path / 'whole', '--save_every_secs=0')
  assert whole.code == 0, whole.err
  killed = _train(tmp_path / 'killed', '--steps_per_call=1',
                  between_calls=functools.partial(_die_at, 5))
  assert killed.code == 9
  resumed = _train(tmp_path / 'killed', between_calls=functools.partial(
      _note_flags, os.fspath(tmp_path), 'flags'))
  assert resumed.code == 0, resumed.err
  assert 'resuming at step 3' in resumed.err
  assert 'other settings' not in resumed.err
  one, other = (_weights(tmp_path / name) for name in ('whole', 'killed'))
  assert len(one) == len(other) > 10
  for name, value in one.items():
    np.testing.assert_array_equal(value, other[name], err_msg=name)
  # What XLA chooses on GPUs is kept with the run.
  assert (tmp_path / 'flags').read_text() == (
      '--xla_gpu_per_fusion_autotune_cache_dir='
      f'"{tmp_path}/killed/workers/0.autotuning"')
  settings = json.loads((tmp_path / 'killed/run.json').read_text())['settings']
  assert settings['--deterministic'] == 'true' and 'XLA_FLAGS' not in settings


def test_a_run_that_goes_on_without_the_flag_is_told_to_give_it(tmp_path):
  killed = _train(tmp_path / 'run', '--steps_per_call=1',
                  between_calls=functools.partial(_die_at, 5))
  assert killed.code == 9
  resumed = _train(tmp_path / 'run', '--nodeterministic')
  assert resumed.code == 0, resumed.err
  assert ('continuing with other settings (--deterministic: true -> false): '
          'results may no longer be, to the last bit, those of a run that was '
          'never stopped; to continue as before, stop the run now and add '
          '--deterministic=true to the command\n') in resumed.err


def test_each_worker_keeps_its_own_choices(tmp_path):
  with socket.socket() as one, socket.socket() as other:
    ports = []
    for free in (one, other):
      free.bind(('127.0.0.1', 0))
      ports.append(free.getsockname()[1])
  started = [processes.start(
      'resnet.train', *_FLAGS, f'--workdir={tmp_path}/run',
      '--strategy=multi_worker_mirrored', f'--worker_rank={rank}',
      f'--worker_addresses=127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}',
      between_calls=functools.partial(
          _note_flags, os.fspath(tmp_path), f'{rank}'))
             for rank in range(2)]
  ended = [processes.finish(*one) for one in started]
  assert [one.code for one in ended] == [0, 0], ended
  for rank in range(2):
    assert (tmp_path / f'{rank}').read_text().endswith(
        f'/run/workers/{rank}.autotuning"')
