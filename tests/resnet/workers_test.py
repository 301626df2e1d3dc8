"""Several processes train as one: the same bits, one writer, one end."""
import functools
import gc
import json
import os
import re
import signal
import socket
import time
import types
import weakref

import numpy as np
import pytest
import tensorflow as tf

from launch.cluster import resolver
from resnet import trainer
from resnet.distribution import feeding, group, heartbeats, peers, workers
from resnet.execution import options
from resnet.run import checkpoint, run_folder
from tests import processes
from tests.resnet import evaluation_worker

_FLAGS = (
    '--config.model.width=4', '--config.global_batch=16',
    '--config.train_epochs=0', '--config.train_steps=8',
    '--config.schedule.warmup_epochs=0.05', '--steps_per_call=1',
    '--config.eval_batch=100', '--log_every_steps=2', '--eval_every_steps=4',
    '--save_every_steps=2', '--save_every_secs=0', '--heartbeat_secs=3',
    '--start_secs=60')


def _free_ports(count):
  sockets = [socket.socket() for _ in range(count)]
  try:
    for one in sockets:
      one.bind(('127.0.0.1', 0))
    return [one.getsockname()[1] for one in sockets]
  finally:
    for one in sockets:
      one.close()


def _start(ports, rank, workdir, *flags, between_calls=None):
  """Starts worker `rank` of those at the ports."""
  return processes.start(
      'resnet.train', '--strategy=multi_worker_mirrored', *_FLAGS, *flags,
      f'--workdir={workdir}', between_calls=between_calls,
      environment=_environment(ports, rank))


def _environment(ports, rank):
  config = {'cluster': {'worker': [f'127.0.0.1:{port}' for port in ports]},
            'task': {'type': 'worker', 'index': rank}}
  return {'TF_CONFIG': json.dumps(config)}


def _train(count, workdir, *flags, at=None):
  """Results of all workers, by rank. at: {rank: called between calls}."""
  ports = _free_ports(count)
  started = [_start(ports, rank, workdir, *flags,
                    between_calls=(at or {}).get(rank))
             for rank in range(count)]
  return [processes.finish(*one) for one in started]


def _signal_at(step, number, done):
  if done == step:
    os.kill(os.getpid(), number)


def _state(workdir, step=8):
  reader = tf.train.load_checkpoint(
      os.fspath(workdir / 'checkpoints' / f'ckpt-{step}'))
  return {name: reader.get_tensor(name)
          for name in reader.get_variable_to_shape_map()
          if name != 'identity'}


def _assert_same_state(one, other, atol=0):
  assert len(one) == len(other) > 60
  for name, value in one.items():
    np.testing.assert_allclose(
        other[name], value, rtol=0, atol=atol, err_msg=name)


def _evaluations(workdir):
  records = map(json.loads, (workdir / 'metrics.jsonl').open())
  return [{k: v for k, v in record.items() if k != 'time'}
          for record in records if record['split'] == 'eval']


@pytest.fixture(scope='module')
def two_devices(tmp_path_factory):
  """The run folder of one process with two devices."""
  workdir = tmp_path_factory.mktemp('one') / 'run'
  result = processes.run('resnet.train', *_FLAGS, '--virtual_devices=2',
                         f'--workdir={workdir}')
  assert result.code == 0, result.err
  return workdir


@pytest.mark.slow
def test_workers_with_other_devices_are_refused(tmp_path):
  ports = _free_ports(2)
  started = [_start(ports, rank, tmp_path / 'run', f'--virtual_devices={count}')
             for rank, count in enumerate((2, 1))]
  for result in [processes.finish(*one) for one in started]:
    assert (result.code, result.out) == (2, '')
    assert result.err.splitlines()[-1] == (
        'error: Worker 1 trains on 1 x CPU, but worker 0 on 2 x CPU: give all '
        'workers the same number of GPUs, or of --virtual_devices.')


@pytest.mark.parametrize('choice, gpus, chosen', [
    ('auto', 0, 'ring'), ('auto', 2, 'nccl'), ('ring', 2, 'ring'),
    ('nccl', 0, 'nccl')])
def test_workers_with_gpus_sum_by_nccl(monkeypatch, choice, gpus, chosen):
  """A strategy that is asked for on GPUs, and not made: there are none here."""
  service = types.SimpleNamespace(
      configure_coordination_service=lambda *args, **kwargs: None,
      _coordination_service_config=types.SimpleNamespace())
  monkeypatch.setattr(workers, '_context', lambda: service)
  monkeypatch.setattr(tf.config, 'list_physical_devices',
                      lambda kind: ['a GPU'] * gpus)
  monkeypatch.setattr(tf.distribute, 'MultiWorkerMirroredStrategy',
                      lambda tasks, communication: communication)
  communication = workers._register(
      resolver.Cluster(('a:1', 'b:1'), 0),
      options.WorkerOptions(collectives=choice), 60, virtual_devices=0)
  assert communication.implementation.name == chosen.upper()
  assert communication.timeout_seconds == 1800  # On by default.


@pytest.mark.slow
def test_two_workers_are_one_process_with_two_devices(tmp_path, two_devices):
  chief, other = _train(2, tmp_path / 'run')
  assert (chief.code, other.code) == (0, 0), chief.err + other.err
  assert '2 x 8 images per step\n' in chief.err
  assert 'CPU:0 of each of 2 workers; ' in chief.err
  # Only the chief writes and speaks.
  assert '360 examples counted' in chief.out and not other.out
  assert 'step' not in other.err
  _assert_same_state(_state(two_devices), _state(tmp_path / 'run'))
  assert _evaluations(tmp_path / 'run') == _evaluations(two_devices)


@pytest.mark.slow
def test_a_killed_worker_is_named_and_the_run_goes_on(tmp_path, two_devices):
  kill = functools.partial(_signal_at, 5, signal.SIGKILL)
  chief, other = _train(2, tmp_path / 'run', at={1: kill})
  assert other.code == -signal.SIGKILL
  assert chief.code == 143, chief.err
  line = chief.err.strip().splitlines()[-1]
  assert line.startswith('Lost worker 1 at 127.0.0.1:')
  assert 'Traceback' not in chief.err
  assert checkpoint.steps_in(tmp_path / 'run' / 'checkpoints')[-1] >= 2
  assert [r.code for r in _train(2, tmp_path / 'run')] == [0, 0]
  _assert_same_state(_state(two_devices), _state(tmp_path / 'run'))
  assert _evaluations(tmp_path / 'run') == _evaluations(two_devices)


def _with_a_clock_of_its_own(_):
  """Between calls: seconds of this process are a third of one from now on."""
  trainer.time = types.SimpleNamespace(monotonic=lambda: 3 * time.monotonic())


@pytest.mark.slow
def test_workers_do_as_many_steps_at_once_whatever_their_clocks_say(tmp_path):
  """Else they would wait for sums of different steps, without end."""
  chief, other = _train(
      2, tmp_path / 'run', '--steps_per_call=0', '--config.train_steps=120',
      '--log_every_steps=120', '--eval_every_steps=120',
      '--config.eval_batch=2', '--save_every_steps=120',
      '--collective_secs=20',
      at={1: _with_a_clock_of_its_own})
  assert (chief.code, other.code) == (0, 0), chief.err
  assert _evaluations(tmp_path / 'run')[-1]['examples'] == 360


@pytest.mark.slow
def test_sigterm_before_the_first_step_ends_a_worker(tmp_path):
  """TensorFlow takes the signal when workers join; it must not be lost."""
  end = functools.partial(_signal_at, 0, signal.SIGTERM)
  only, = _train(1, tmp_path / 'run', at={0: end})
  assert only.code == -signal.SIGTERM, only.err


def _stop_forever_at(step, folder, done):
  (folder / 'pid').write_text(str(os.getpid()))
  _signal_at(step, signal.SIGSTOP, done)


@pytest.mark.slow
def test_a_worker_that_hangs_is_named(tmp_path):
  hang = functools.partial(_stop_forever_at, 5, tmp_path)
  ports = _free_ports(2)
  # Stalls are looked for each second, long before a worker counts as lost.
  started = [_start(ports, rank, tmp_path / 'run', '--stall_secs=1',
                    '--heartbeat_secs=8', between_calls=hang if rank else None)
             for rank in range(2)]
  chief = processes.finish(*started[0])
  os.kill(int((tmp_path / 'pid').read_text()), signal.SIGKILL)
  processes.finish(*started[1])
  assert chief.code == 143, chief.err
  assert chief.err.strip().splitlines()[-1].startswith(
      f'Lost worker 1 at 127.0.0.1:{ports[1]} (')
  # Before it was lost, with the stacks of what the chief waited in.
  # It was last seen when it last wrote its heartbeat, which it does once a
  # second: a fast machine has made all of its steps since then.
  assert re.search(r'No progress for \d+ s; worker 1 \(.+\) was last seen in '
                   r'step [0-5] \([\w-]+\) \d+ s ago', chief.err)
  assert 'in train_and_evaluate' in chief.err
  chief_beat, other_beat = heartbeats.read(tmp_path / 'run', 2)
  assert (chief_beat['phase'], chief_beat['step']) == ('training', 5)
  assert other_beat['rank'] == 1 and other_beat['step'] <= 5


@pytest.mark.slow
def test_workers_that_do_not_share_the_folder_are_refused(tmp_path):
  ports = _free_ports(2)
  started = [_start(ports, rank, tmp_path / f'run{rank}') for rank in range(2)]
  for one in started:
    result = processes.finish(*one)
    assert result.code == 2
    assert f'--workdir={tmp_path}/run' in result.err
    assert 'is not the same folder on worker 1 as on worker 0' in result.err


@pytest.mark.slow
def test_the_others_name_a_killed_chief(tmp_path):
  kill = functools.partial(_signal_at, 5, signal.SIGKILL)
  chief, other = _train(2, tmp_path / 'run', at={0: kill})
  assert (chief.code, other.code) == (-signal.SIGKILL, 143), other.err
  assert other.err.strip().splitlines()[-1].startswith(
      'Lost worker 0 at 127.0.0.1:')


@pytest.mark.slow
@pytest.mark.parametrize('rank', [0, 1])
def test_a_signal_to_one_stops_all_at_the_same_step(
    tmp_path, two_devices, rank):
  stop = functools.partial(_signal_at, 6, signal.SIGTERM)
  results = _train(2, tmp_path / 'run', at={rank: stop})
  assert [r.code for r in results] == [143, 143], results
  assert 'Stopped at step 7' in results[0].err
  assert checkpoint.steps_in(tmp_path / 'run' / 'checkpoints')[-1] == 7
  assert [r.code for r in _train(2, tmp_path / 'run')] == [0, 0]
  _assert_same_state(_state(two_devices), _state(tmp_path / 'run'))


def _stop_at(step):
  return functools.partial(_signal_at, step, signal.SIGTERM)


@pytest.mark.slow
def test_workers_may_change_at_a_restart(tmp_path):
  """With synchronised batch norm they change nothing but rounding."""
  flags = ('--config.model.sync_batch_norm=True', '--log_positions')
  alone = processes.run('resnet.train', *_FLAGS, *flags,
                        f'--workdir={tmp_path}/alone')
  assert alone.code == 0, alone.err
  # From 1 worker to 4 after step 3, and to 2 after step 6: a signal before a
  # step is heeded after it.
  first = processes.run('resnet.train', *_FLAGS, *flags,
                        f'--workdir={tmp_path}/run', between_calls=_stop_at(2))
  assert first.code == 143, first.err
  more = _train(4, tmp_path / 'run', *flags, at={3: _stop_at(5)})
  assert [r.code for r in more] == [143] * 4, more
  assert '4 x 4 images per step' in more[0].err
  assert ('continuing on CPU:0 of each of 4 workers (before: CPU:0'
          in more[0].err)
  fewer = _train(2, tmp_path / 'run', *flags)
  assert [r.code for r in fewer] == [0, 0], fewer
  _assert_same_state(_state(tmp_path / 'alone'), _state(tmp_path / 'run'),
                     atol=1e-4)
  drawn = _positions(tmp_path / 'alone')
  assert _positions(tmp_path / 'run') == drawn and len(set(drawn)) == 4


def _positions(workdir):
  records = map(json.loads, (workdir / 'metrics.jsonl').open())
  return [r['positions'] for r in records if r['split'] == 'train']


@pytest.mark.slow
def test_three_workers_of_two_replicas_count_each_example_once(tmp_path):
  results = _train(3, tmp_path / 'run', '--virtual_devices=2',
                   '--config.global_batch=18', '--config.train_steps=1',
                   '--config.schedule.warmup_epochs=0', '--config.eval_batch=7')
  assert [r.code for r in results] == [0, 0, 0], results
  assert _evaluations(tmp_path / 'run')[-1]['examples'] == 360


def test_no_worker_has_to_free_a_stream_before_it_can_end():
  one = weakref.ref(feeding.iterate('a', tf.data.Dataset.range(3)))
  other = weakref.ref(feeding.iterate('b', tf.data.Dataset.range(3)))
  gc.collect()
  assert one() and other()
  feeding.iterate('a', tf.data.Dataset.range(3))
  gc.collect()
  assert other() and not one()


@pytest.mark.slow
@pytest.mark.parametrize('count', [1, 2, 3])
@pytest.mark.parametrize('replicas', [1, 2])
def test_every_evaluation_counts_every_example_once(count, replicas):
  batches = (4, 7 * count * replicas)
  ports = _free_ports(count)
  started = [
      processes.start(
          'tests.resnet.evaluation_worker', '--strategy=multi_worker_mirrored',
          f'--virtual_devices={replicas}', '--examples=11', '--examples=297',
          *(f'--batches={batch}' for batch in batches),
          environment=_environment(ports, rank)) for rank in range(count)]
  chief, *others = [processes.finish(*one) for one in started]
  assert {chief.code, *(one.code for one in others)} == {0}, chief.err
  lines = [json.loads(line) for line in chief.out.splitlines()]
  assert [(line['size'], line['batch']) for line in lines] == [
      (size, batch) for size in (11, 297) for batch in batches]
  for line in lines:
    assert line['examples'] == line['size']
    images, labels = evaluation_worker.split(line['size'])
    pixels = images.ravel() / 255
    # Of logits (pixel, 0, ..., 0), 10 of them.
    losses = np.log(np.exp(pixels) + 9) - pixels * (labels == 0)
    np.testing.assert_allclose(line['loss'], losses.mean(), rtol=1e-5)
    # Class 0 has the largest logit; or the first of 10 that are equal.
    np.testing.assert_allclose(line['accuracy'], (labels == 0).mean(),
                               rtol=1e-6)
    # Many pixels are equal: then the first in the split is the worst.
    worst = np.argsort(-losses, kind='stable')[:16]
    assert [index for index, *_ in line['worst']] == worst.tolist()
    for index, label, predicted, probability, loss in line['worst']:
      assert (label, predicted) == (labels[index], 0)
      np.testing.assert_allclose(
          [probability, loss], [
              1 / (1 + 9 * np.exp(-pixels[index])), losses[index]], rtol=1e-5)
    confusion = np.zeros((10, 10))
    confusion[:, 0] = np.bincount(labels, minlength=10)
    np.testing.assert_array_equal(line['confusion'], confusion)


def test_a_worker_that_never_comes_is_named(tmp_path):
  ports = _free_ports(2)
  chief = processes.finish(
      *_start(ports, 0, tmp_path / 'run', '--start_secs=2'))
  assert chief.code == 143
  assert ('Not all workers started within 2 s: worker 1 at '
          f'127.0.0.1:{ports[1]} never started.') in chief.err


@pytest.mark.parametrize('number, code', [
    (signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)])
def test_a_signal_ends_a_worker_that_waits_for_others(tmp_path, number, code):
  ports = _free_ports(2)
  process, folder = _start(ports, 0, tmp_path / 'run')
  deadline = time.monotonic() + 60
  while (peers.silent([f'127.0.0.1:{ports[0]}'], 1)
         and time.monotonic() < deadline):
    time.sleep(0.05)
  os.kill(process.pid, number)
  result = processes.finish(process, folder)
  assert time.monotonic() < deadline  # Which the other is waited for as well.
  first_words, end = result.err.split('\n')
  assert 'starting digits_resnet8' in first_words
  assert (result.code, end) == (code, '')


def _die_before_the_run_is_marked(done):
  run_folder.RunFolder.finish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_nobody_is_done_before_the_chief(tmp_path, two_devices):
  chief, other = _train(2, tmp_path / 'run',
                        at={0: _die_before_the_run_is_marked})
  assert (chief.code, other.code) == (-signal.SIGKILL, 143), other.err
  assert [r.code for r in _train(2, tmp_path / 'run')] == [0, 0]
  _assert_same_state(_state(two_devices), _state(tmp_path / 'run'))
  # The others are gone: one that is started again must not wait for them.
  again = processes.finish(*_start(_free_ports(2), 0, tmp_path / 'run'))
  assert again.code == 0 and 'This run is finished' in again.out
  changed = processes.finish(*_start(
      _free_ports(2), 0, tmp_path / 'run', '--config.seed=1', '--start_secs=1'))
  assert changed.code == 143 and 'worker 1 at' in changed.err


def test_a_pod_whose_name_never_comes_is_named(tmp_path):
  port, = _free_ports(1)
  result = processes.run(
      'resnet.train', '--strategy=multi_worker_mirrored', *_FLAGS,
      '--start_secs=1', f'--workdir={tmp_path}/run', environment={
          'RESNET_WORKER_HOST_PATTERN': f'no-such-{{index}}.invalid:{port}',
          'RESNET_NUM_WORKERS': '2', 'JOB_COMPLETION_INDEX': '0'})
  assert result.code == 143, result.err
  assert ('Not all workers started within 1 s: no host was found for '
          f'worker 0 at no-such-0.invalid:{port}, worker 1 at '
          f'no-such-1.invalid:{port} (') in result.err
  assert ('Rerun the same command to continue from the last checkpoint.'
          in result.err)


@pytest.mark.slow
def test_workers_of_different_configurations_are_refused(tmp_path):
  ports = _free_ports(2)
  started = [_start(ports, rank, tmp_path / 'run', f'--config.seed={rank}')
             for rank in range(2)]
  for one in started:
    result = processes.finish(*one)
    assert result.code == 2, result.err
    assert ('The config fields of worker 1 differ from those of worker 0: '
            in result.err)
  assert not (tmp_path / 'run' / 'config.json').exists()


@pytest.mark.slow
def test_workers_of_other_code_are_refused(tmp_path):
  ports = _free_ports(2)
  started = [
      processes.start(
          'tests.resnet.other_code' if rank else 'resnet.train',
          '--strategy=multi_worker_mirrored', *_FLAGS,
          f'--workdir={tmp_path}/run', environment=_environment(ports, rank))
      for rank in range(2)]
  for one in started:
    result = processes.finish(*one)
    assert result.code == 2, result.err
    assert ('The source files of worker 1 differ from those of worker 0: '
            in result.err)


def _drift_at(step, done):
  """As a faulty device does: changes one weight of the last replica."""
  if done == step:
    train, = (one for one in gc.get_objects() if isinstance(one, trainer.Train))
    weight = train._state.params[3].values[-1]
    weight.assign(tf.tensor_scatter_nd_add(
        weight, [[0] * len(weight.shape)], [1e-6]))


@pytest.mark.slow
def test_a_worker_whose_weights_have_drifted_is_named(tmp_path):
  results = _train(3, tmp_path / 'run', '--config.global_batch=18',
                   at={1: functools.partial(_drift_at, 3)})
  for result in results:
    assert result.code == 2
    assert ('error: The weights of worker 1 differ from those of worker 0: '
            ) in result.err.strip().splitlines()[-1]
  assert not _evaluations(tmp_path / 'run')  # Of step 4.


def _compare_late(mark, done):
  """Makes this worker take seconds over what others have compared by then."""
  if done == 1:
    odd_and_usual = group._odd_and_usual

    def late(digests):
      time.sleep(2)
      mark.touch()
      return odd_and_usual(digests)

    group._odd_and_usual = late


@pytest.mark.slow
def test_nobody_leaves_before_all_know_that_they_differ(tmp_path):
  """Or the others might lose it before they have got what it had sent."""
  ports, mark = _free_ports(2), tmp_path / 'compared'
  late = _start(ports, 0, tmp_path / 'run',
                between_calls=functools.partial(_compare_late, mark))
  early = _start(ports, 1, tmp_path / 'run',
                 between_calls=functools.partial(_drift_at, 3))
  assert processes.finish(*early).code == 2
  assert mark.exists()
  assert processes.finish(*late).code == 2


@pytest.mark.slow
def test_a_replica_whose_weights_have_drifted_is_named(tmp_path):
  result = processes.run(
      'resnet.train', *_FLAGS, '--virtual_devices=2',
      f'--workdir={tmp_path}/run',
      between_calls=functools.partial(_drift_at, 3))
  assert result.code == 2
  assert ('The weights of worker 0 (replica 1) differ from those of worker 0 '
          '(replica 0): ' in result.err)


@pytest.mark.parametrize('digests, odd, usual', [
    ([[7], [7]], [], 'worker 0'),
    ([[7], [8]], ['worker 1'], 'worker 0'),
    ([[8], [7], [7]], ['worker 0'], 'worker 1'),
    ([[7, 7], [8, 7]], ['worker 1 (replica 0)'], 'worker 0 (replica 0)'),
    ([[7, 8], [9, 7]], ['worker 0 (replica 1)', 'worker 1 (replica 0)'],
     'worker 0 (replica 0)'),
])
def test_the_few_that_differ_are_named(digests, odd, usual):
  assert group._odd_and_usual(np.array(digests, np.float64)) == (odd, usual)


@pytest.mark.parametrize('config, words', [
    (None, 'No worker addresses were found in --worker_addresses, TF_CONFIG'),
    ('{', 'TF_CONFIG is not JSON'),
    ('{"cluster": {"worker": ["no.such.host.invalid:1"]}, "task": '
     '{"type": "worker", "index": 0}}', 'The host of worker 0, no.such.host'),
])
def test_wrong_clusters(tmp_path, config, words):
  result = processes.run(
      'resnet.train', '--strategy=multi_worker_mirrored', *_FLAGS,
      f'--workdir={tmp_path}/run',
      environment={'TF_CONFIG': config} if config else {})
  assert result.code == 2 and 'Traceback' not in result.err
  assert words in result.err.strip().splitlines()[-1]


@pytest.mark.parametrize('flags, words', [
    (('--worker_rank=0',), '--worker_rank are for --strategy=multi_worker_'),
    (('--worker_addresses=a:1,b:1',), 'are for --strategy=multi_worker_mirro'),
    (('--strategy=multi_worker_mirrored', '--worker_addresses=a:1,b:1',
      '--worker_rank=2'), '--worker_rank=2 is out of range for 2'),
    (('--strategy=multi_worker_mirrored', '--worker_addresses=no.invalid:2',
      '--worker_rank=0'), 'The host of worker 0, no.invalid:2'),
])
def test_wrong_flags(tmp_path, flags, words):
  result = processes.run('resnet.train', *flags, *_FLAGS,
                         f'--workdir={tmp_path}/run')
  assert result.code == 2 and 'Traceback' not in result.err
  assert words in result.err.strip().splitlines()[-1]


def test_evaluation_runs_in_one_process(two_devices):
  result = processes.run('resnet.evaluate', f'--workdir={two_devices}',
                         '--strategy=multi_worker_mirrored')
  assert result.code == 2 and 'give --strategy=mirrored' in result.err


def test_a_port_in_use(tmp_path):
  with socket.socket() as holder:
    holder.bind(('127.0.0.1', 0))
    holder.listen()
    port = holder.getsockname()[1]
    result = processes.finish(*_start([port], 0, tmp_path / 'run'))
  assert result.code == 2
  assert f'port {port} of worker 0 cannot be opened' in result.err
