"""The manifest of an Indexed Job, run without Kubernetes: pods.py emulates the
Job controller as documented.
"""
import os
import pathlib
import warnings

import numpy as np
import pytest
import tensorflow as tf

from launch.cluster import contract
from launch.local import worker_environment
from tests import processes
from tests.launch import kubernetes_command as command
from tests.launch import manifests, pods

pytestmark = pytest.mark.slow
_MOUNT = '/mnt'  # A folder of every Linux; only pods mount something over it.
# Stands in for the trainer, in a folder that stands in for the image.
_PRELUDE = """
import os, pathlib, signal, socket, sys, time
index = int(os.environ['JOB_COMPLETION_INDEX'])
starts = pathlib.Path('/mnt', f'starts_{index}')
attempt = starts.stat().st_size if starts.exists() else 0
with starts.open('a') as file:
  file.write('x')
def end(code):
  sys.stdout.flush()
  os._exit(code)
def wait_until_told():
  while True:
    time.sleep(1)
"""


@pytest.fixture(autouse=True)
def namespaces(tmp_path):
  """Skips where pods cannot run; fails if they leave anything behind."""
  reason = pods.missing()
  if reason:
    warnings.warn('Manifests are not run, because pods need namespaces: '
                  f'{reason}', stacklevel=2)
    pytest.skip(reason)
  yield
  links = [path.name for path in pathlib.Path('/sys/class/net').iterdir()]
  assert not [name for name in links if name.startswith('pod')]
  for process in pathlib.Path('/proc').glob('[0-9]*'):
    try:
      mounts = (process / 'mountinfo').read_text()
    except OSError:  # It has ended, or is another user's.
      continue
    assert '/'.join(tmp_path.parts[-2:]) not in mounts, process


def _manifest(*flags, trainer=()):
  return command.objects(
      '--name=r8', '--workers=2', f'--workdir_mount={_MOUNT}',
      '--grace_secs=1', '--cpus=1', *flags,
      trainer=(f'--workdir={_MOUNT}/r8', *trainer))


def _run(folder, code, *flags, objects=None, claims=(), **how):
  """Runs a trainer of a few lines; returns (pods.Ended, each worker's log)."""
  for name in ('runs', 'image/resnet'):
    (folder / name).mkdir(parents=True)
  (folder / 'image/resnet/__init__.py').touch()
  (folder / 'image/resnet/train.py').write_text(_PRELUDE + code)
  ended = pods.run(
      objects or _manifest(*flags), image=folder / 'image', logs=folder,
      claims={'runs': folder / 'runs', **dict(claims)}, **how)
  return ended, [(folder / f'{index}.log').read_text() for index in range(2)]


def test_emulated_as_documented_exit_code_2_fails_the_job_at_once(tmp_path):
  ended, _ = _run(tmp_path, 'wait_until_told() if index else end(2)')
  assert ended == pods.Ended('Failed', 'PodFailurePolicy', 0, [
      [0, 2, 'FailJob'], [1, 143, 'Delete']])


def test_emulated_as_documented_143_never_counts_as_a_failure(tmp_path):
  ended, _ = _run(tmp_path, 'end(143 if index and attempt < 3 else 0)',
                  '--max_restarts=0')
  assert ended[:3] == ('Complete', '', 0)
  assert sorted(ended.pods) == [
      [0, 0, 'Succeed'], [1, 0, 'Succeed'], *[[1, 143, 'Ignore']] * 3]


def test_emulated_as_documented_failures_are_counted(tmp_path):
  """Counts pods: one restart of two workers is two failures."""
  ended, _ = _run(tmp_path, 'signal.signal(15, signal.SIG_IGN)\n'
                  'end(1) if index else wait_until_told()', '--max_restarts=1')
  assert ended == pods.Ended('Failed', 'BackoffLimitExceeded', 3, [
      *[[1, 1, 'Count']] * 3, [0, 137, 'Delete']])


_SAVES_TWICE = f"""
sys.path.insert(0, {os.fspath(command.ROOT)!r})
from configs.process import command_line, progress
from configs.process.errors import TryAgain
def main(_):
  progress.watch('/mnt/r8')
  if attempt < 2:
    os.makedirs('/mnt/r8/checkpoints', exist_ok=True)
    pathlib.Path('/mnt/r8/checkpoints', f'ckpt-{{attempt}}.index').touch()
  raise TryAgain('The file server is away.')
sys.argv[1:] = []
end(0) if index else command_line.run(main, command_line.parse_flags)
"""


def test_emulated_as_documented_143_without_progress_comes_to_an_end(tmp_path):
  """Only exit codes count here, so the trainer's own says it."""
  ended, (out, _) = _run(tmp_path, _SAVES_TWICE, '--max_restarts=1')
  assert ended[:3] == ('Failed', 'BackoffLimitExceeded', 3)
  assert [pod for pod in ended.pods if pod[0] == 0] == [
      *[[0, 143, 'Ignore']] * 2, *[[0, 1, 'Count']] * 3]
  assert out.count('The file server is away.') == 5
  assert out.count('the exit code is 1 instead of 143') == 3


_ONE_WAITS = """
if index and not attempt:
  pathlib.Path('/mnt/waits').touch()
  wait_until_told()
"""


def test_emulated_as_documented_a_killed_pod_is_replaced(tmp_path):
  ended, _ = _run(tmp_path, _ONE_WAITS + 'end(0)',
                  signals=[(1, tmp_path / 'runs/waits', 'SIGKILL')])
  assert ended[:3] == ('Complete', '', 1)
  assert [1, 137, 'Count'] in ended.pods and [1, 0, 'Succeed'] in ended.pods


def test_emulated_as_documented_a_preempted_pod_does_not_count(tmp_path):
  ended, _ = _run(tmp_path, 'signal.signal(15, lambda *_: end(1))'
                  + _ONE_WAITS + 'end(0)', '--max_restarts=0',
                  signals=[(1, tmp_path / 'runs/waits', 'preempt')])
  assert ended[:3] == ('Complete', '', 0)
  assert [1, 1, 'Ignore'] in ended.pods and [1, 0, 'Succeed'] in ended.pods


_TALKS = """
pattern = os.environ['RESNET_WORKER_HOST_PATTERN']
hosts = [pattern.replace('{index}', str(i)).split(':')
         for i in range(int(os.environ['RESNET_NUM_WORKERS']))]
print(socket.gethostname(), sys.argv[1:])
if index:
  while True:
    try:
      socket.create_connection(hosts[0]).close()
      end(0)
    except ConnectionRefusedError:
      time.sleep(0.01)
    except socket.gaierror:
      end(2)
with socket.create_server(('', int(hosts[0][1]))) as server:
  server.accept()
"""


def test_emulated_pods_find_each_other_by_the_names_of_the_service(tmp_path):
  objects = _manifest(trainer=('--x=$(PATH) $$',))
  ended, out = _run(tmp_path / 'with', _TALKS, objects=objects)
  assert ended[:3] == ('Complete', '', 0)
  flags = ['--strategy=multi_worker_mirrored', '--workdir=/mnt/r8',
           '--x=$(PATH) $$']
  assert out == [f'r8-{index} {flags}\n' for index in range(2)]
  without = [one for one in objects if one['metadata']['name'] != 'r8'
             or one['kind'] != 'Service']
  ended, _ = _run(tmp_path / 'without', _TALKS, objects=without)
  assert [1, 2, 'FailJob'] in ended.pods


_LEAVES_FILES = """
for folder in ('/mnt', '/dev/shm', '/tmp', '/srv', '/opt', '/var'):
  file = pathlib.Path(folder, f'of_{index}')
  try:
    print(file.exists(), end=' ')
    file.touch()
  except OSError as error:
    print(error.strerror)
end(0 if attempt else 143)
"""


def test_emulated_pods_keep_only_what_is_on_the_claim(tmp_path):
  (tmp_path / 'data').mkdir()
  ended, out = _run(
      tmp_path, _LEAVES_FILES, claims={'pictures': tmp_path / 'data'},
      objects=_manifest('--data_claim=pictures', '--data_mount=/srv',
                        trainer=('--data_dir=/srv',)))
  assert ended.status == 'Complete'
  read_only = 'False Read-only file system\n' * 3
  assert out == [f'False False False {read_only}True False False {read_only}'
                ] * 2


def test_emulated_pods_end_with_their_caller(tmp_path):
  with pytest.raises(TimeoutError):
    _run(tmp_path, 'wait_until_told()', timeout=1)


_RULES = [  # The example in kubernetes.io/docs/tasks/job/pod-failure-policy.
    {'action': 'FailJob', 'onExitCodes': {
        'containerName': 'main', 'operator': 'In', 'values': [42]}},
    {'action': 'Ignore', 'onPodConditions': [
        {'type': 'DisruptionTarget', 'status': 'True'}]}]
_NOT_IN = [{'action': 'Ignore', 'onExitCodes': {
    'operator': 'NotIn', 'values': [40, 41]}}]


@pytest.mark.parametrize('rules, code, disrupted, action', [
    (_RULES, 42, False, 'FailJob'), (_RULES, 42, True, 'FailJob'),
    (_RULES, 1, False, 'Count'), (_RULES, 137, True, 'Ignore'),
    (_NOT_IN, 40, False, 'Count'), (_NOT_IN, 1, False, 'Ignore'),
    ([], 1, True, 'Count')])
def test_emulated_rules_act_as_documented(
    rules, code, disrupted, action):
  assert pods.action(rules, code, disrupted) == action


@pytest.mark.parametrize('word, expanded', [  # From the API reference.
    ('$(A)', 'a'), ('$$(A)', '$(A)'), ('$(B)', '$(B)'), ('$A $', '$A $'),
    ('x$(A)$$', 'xa$')])
def test_emulated_variables_expand_as_documented(word, expanded):
  assert pods.expand(word, {'A': 'a'}) == expanded


_FLAGS = (
    '--config.model.width=4', '--config.global_batch=16',
    '--config.train_epochs=0', '--config.train_steps=100',
    '--config.schedule.warmup_epochs=0.05', '--steps_per_call=1',
    '--config.eval_batch=100', '--eval_every_epochs=0', '--save_every_steps=10',
    '--save_every_secs=0', '--heartbeat_secs=3', '--start_secs=60')


def _state(workdir):
  reader = tf.train.load_checkpoint(
      os.fspath(workdir / 'checkpoints' / 'ckpt-100'))
  return {name: reader.get_tensor(name)
          for name in reader.get_variable_to_shape_map()
          if name != 'identity'}


def _undisturbed(workdir, objects):
  """Trains in two undisturbed processes; returns their weights.

  They have as many threads as the objects' pods: other numbers of threads give
  other bits.
  """
  container, = manifests.template(manifests.trainer(objects))[
      'spec']['containers']
  threads = {one['name']: one['value'] for one in container['env']
             if one['name'] in contract.THREAD_VARIABLES}
  variables = worker_environment.of_workers(
      worker_environment.free_ports(2), 0, [], threads)
  started = [processes.start(
      'resnet.train', '--strategy=multi_worker_mirrored', *_FLAGS,
      f'--workdir={workdir}', environment={**each, **threads})
             for each in variables]
  results = [processes.finish(*one) for one in started]
  assert [result.code for result in results] == [0, 0], results
  return _state(workdir)


def test_emulated_as_documented_a_killed_worker_costs_no_bit(tmp_path):
  """Trains for real: the weights equal those of an undisturbed run."""
  runs = tmp_path / 'runs'
  runs.mkdir()
  objects = _manifest(trainer=_FLAGS)
  ended = pods.run(
      objects, image=command.ROOT, claims={'runs': runs}, logs=tmp_path,
      timeout=600,
      signals=[(1, runs / 'r8/checkpoints/ckpt-10.index', 'SIGKILL')])
  chief = (tmp_path / '0.log').read_text()
  assert ended[:3] == ('Complete', '', 1), chief
  killed, *others = ended.pods
  assert killed == [1, 137, 'Count'] and [0, 143, 'Ignore'] in others
  assert sorted(others[-2:]) == [[0, 0, 'Succeed'], [1, 0, 'Succeed']]
  assert 'Lost worker 1 at r8-1.r8:2222' in chief
  assert 'resuming at step' in chief
  assert (runs / '.cache/resnet-trainer').is_dir()
  expected = _undisturbed(tmp_path / 'other', objects)
  found = _state(runs / 'r8')
  assert found.keys() == expected.keys() and len(found) > 60
  for name, value in expected.items():
    np.testing.assert_array_equal(found[name], value, err_msg=name)
