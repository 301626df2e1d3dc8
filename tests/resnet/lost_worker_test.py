"""A worker counts as lost if there is evidence; else the error is one's own."""
import contextlib
import socket
import types

import pytest
import tensorflow as tf

from resnet.distribution import workers
from resnet.distribution.group import Group
from resnet.optimization import losses
from tests import processes
from tests.resnet import workers_test

_DERIVED = {b'type.googleapis.com/tensorflow.DerivedStatus': b''}
_NODE = ('Graph execution error:\n\nDetected at node CollectiveReduceV2 '
         'defined at (most recent call last):\n  File "loop.py", line 47, in '
         'run\n\n{}\n\t [[{{{{node CollectiveReduceV2}}}}]] '
         '[Op:__inference_run_49]')
_ABORTED = _NODE.format(
    'Collective ops is aborted by: {}\nThe error could be from a previous '
    'operation. Restart your program to reset.').format
_GRPC = ('\nAdditional GRPC error information from remote target '
         '/job:worker/replica:0/task:2 while calling '
         '/tensorflow.WorkerService/CompleteInstance:\n:UNKNOWN:Error received '
         'from peer')
_ERRORS = tf.errors

# What TensorFlow 2.21 raised when a worker was killed, stopped, or slow.
_LOSSES = [
    (_ERRORS.UnavailableError, _DERIVED, _ABORTED(
        'Error reported from /job:worker/task:2: The following tasks are '
        'unhealthy (stopped sending heartbeats):\n/job:worker/replica:0/task:2'
        '\nThe tasks have crashed.')),
    (_ERRORS.UnavailableError, _DERIVED,
     _ABORTED(f'sendmsg: Broken pipe (32){_GRPC}')),
    (_ERRORS.UnavailableError, _DERIVED,
     _ABORTED(f'recvmsg:Connection reset by peer{_GRPC}')),
    (_ERRORS.UnavailableError, _DERIVED,
     _ABORTED(f'failed to connect to all addresses{_GRPC}')),
    (_ERRORS.UnavailableError, _DERIVED, _ABORTED('Socket closed')),
    (_ERRORS.UnavailableError, {}, f'Connection reset by peer{_GRPC}'),
    (_ERRORS.UnavailableError, _DERIVED, _ABORTED(
        'Failed to send RPC to coordination service. Either the leader task '
        'was preempted/died/restarted unexpectedly or this task is '
        'experiencing network issues.')),
    (_ERRORS.DeadlineExceededError, _DERIVED, _ABORTED('Deadline Exceeded')),
    (_ERRORS.DeadlineExceededError, {},
     _NODE.format('Collective has timed out during execution.')),
    (_ERRORS.DeadlineExceededError, {},
     'RPC: /tensorflow.CoordinationService/Heartbeat'),
    (_ERRORS.FailedPreconditionError, {}, _NODE.format(
        "Device /job:worker/replica:0/task:2/device:CPU:0 current incarnation "
        "doesn't match with one in the group.")),
]
# What it raised, or would, when this worker itself failed.
_OWN = [
    (_ERRORS.InternalError, {}, 'during compilation: INTERNAL: ptxas exited'),
    (_ERRORS.UnknownError, {}, 'RuntimeError: own bug\nTraceback ...\n'
     '[[{{node EagerPyFunc}}]] [Op:__inference_run_49]'),
    (_ERRORS.UnknownError, {}, 'ConnectionResetError: [Errno 104] Connection '
     'reset by peer\n[[{{node PyFunc}}]]'),
    (_ERRORS.UnavailableError, {}, 'the storage service is unavailable'),
    (_ERRORS.CancelledError, {}, 'Operation was cancelled'),
    (_ERRORS.ResourceExhaustedError, {}, 'OOM when allocating tensor with '
     'shape[4000000000000] on /job:worker/replica:0/task:1/device:CPU:0'),
    (_ERRORS.AbortedError, {}, 'An optimizer has aborted'),
]
# Errors that could be either: they count if a worker no longer listens.
_EITHER = [
    (_ERRORS.InternalError, _DERIVED, _ABORTED('INTERNAL: a bug')),
    (_ERRORS.CancelledError, _DERIVED, '[_Derived_]RecvAsync is cancelled.'),
    (_ERRORS.UnknownError, {}, _NODE.format('no reason given')),
    (_ERRORS.InternalError, {}, 'NCCL operation ncclGroupEnd() failed: '
     'unhandled system error'),
    (_ERRORS.InvalidArgumentError, _DERIVED,
     _ABORTED('Shape mismatch in the collective instance')),
]


def _group(stack, silent=()):
  """Returns worker 1 of 3; all listen but the silent ones."""
  addresses = []
  for worker in range(3):
    one = stack.enter_context(socket.socket())
    one.bind(('127.0.0.1', 0))
    if worker not in silent:
      one.listen()
    addresses.append(f'127.0.0.1:{one.getsockname()[1]}')
  spec = types.SimpleNamespace(job_tasks=lambda _: addresses)
  resolver = types.SimpleNamespace(cluster_spec=lambda: spec)
  return Group(types.SimpleNamespace(cluster_resolver=resolver), 1, 3)


def _raised(kind, payloads, message, silent):
  """Returns what becomes of an error that ends the training of worker 1."""
  error = kind(None, None, message, payloads)

  def main(_):
    raise error

  with contextlib.ExitStack() as stack, pytest.raises(Exception) as raised:
    workers._run(_group(stack, silent), main)
  return raised.value is error, raised.value


@pytest.mark.parametrize('silent', [(), (2,)])
@pytest.mark.parametrize('kind, payloads, message', _LOSSES)
def test_evidence_of_a_loss(kind, payloads, message, silent):
  is_own, raised = _raised(kind, payloads, message, silent)
  assert not is_own and type(raised) is workers.LostPeer
  # Of an unanswered heartbeat of the chief, it is the chief.
  named = ('Lost worker 2 at ', 'Lost worker 0 at ')
  assert str(raised).startswith(named if silent else 'Lost ')


@pytest.mark.parametrize('silent', [(), (2,)])
@pytest.mark.parametrize('kind, payloads, message', _OWN)
def test_own_errors_stay_what_they_are(kind, payloads, message, silent):
  is_own, _ = _raised(kind, payloads, message, silent)
  assert is_own


@pytest.mark.parametrize('kind, payloads, message', _EITHER)
def test_errors_that_could_be_either(kind, payloads, message):
  is_own, _ = _raised(kind, payloads, message, ())
  assert is_own
  is_own, raised = _raised(kind, payloads, message, (2,))
  assert not is_own and str(raised).startswith('Lost worker 2 at ')


_HANGS = ('Collective ops is aborted by: Error reported from '
          '/job:worker/task:2: The following tasks are unhealthy (stopped '
          'sending heartbeats):\n/job:worker/replica:0/task:2\n')
_GONE = ('Collective ops is aborted by: failed to connect to all addresses\n'
         'Additional GRPC error information from remote target '
         '/job:worker/replica:0/task:2 ...')
_NO_ANSWER = 'Collective ops is aborted by: Deadline Exceeded'


@pytest.mark.parametrize('message, listening, lost', [
    (_HANGS, (0, 1, 2), 'worker 2 at {2} ('),
    (f'{_HANGS} from remote target /job:worker/replica:0/task:0', (1, 2),
     'worker 2 at {2} ('),  # Worker 0 has noticed before.
    (_GONE, (0, 1), 'worker 2 at {2} ('),
    (_GONE, (1,), 'worker 0 at {0}, worker 2 at {2} ('),
    (_GONE, (0, 1, 2), 'worker 2 at {2} ('),  # It was started again.
    ('RPC: /tensorflow.CoordinationService/Heartbeat', (0, 1, 2),
     'worker 0 at {0} ('),
    ('Failed to send RPC to coordination service.', (0, 1, 2),
     'worker 0 at {0} ('),
    (_NO_ANSWER, (0, 1, 2), 'worker 0 at {0} ('),
    (_NO_ANSWER, (0, 1), 'worker 0 at {0} ('),  # Worker 2 has noticed before.
    ('?', (0, 1, 2), 'another worker ('),
])
def test_who_is_lost(message, listening, lost):
  """As told by worker 1 of 3."""
  with contextlib.ExitStack() as stack:
    group = _group(stack, silent={0, 1, 2} - set(listening))
    error = tf.errors.UnavailableError(None, None, message)
    addresses = group.strategy.cluster_resolver.cluster_spec().job_tasks('')
    assert workers._lost_sentence(group, error).startswith(
        f'Lost {lost.format(*addresses)}')


def test_alone_nobody_is_lost():
  error = tf.errors.UnavailableError(None, None, _LOSSES[0][2], _DERIVED)
  group = Group(tf.distribute.get_strategy(), 0, 1)

  def main(_):
    raise error

  with pytest.raises(tf.errors.UnavailableError) as raised:
    workers._run(group, main)
  assert raised.value is error


def _break_step(done):
  """Between calls: from now on, the third update that is computed fails."""
  if done:
    return
  counts, targets_of = [], losses.targets_of

  def fail(values):
    counts.append(1)
    if len(counts) == 3:
      raise RuntimeError('the compiler is broken')
    return values

  def broken(*arguments):
    targets = targets_of(*arguments)
    same = tf.py_function(fail, [targets], tf.float32)
    same.set_shape(targets.shape)
    return targets + 0 * same

  losses.targets_of = broken


def _break_call(done):
  if done == 3:
    raise tf.errors.InternalError(None, None, 'the compiler is broken')


@pytest.mark.slow
@pytest.mark.parametrize('rank', [0, 1])
@pytest.mark.parametrize('fault', [_break_step, _break_call])
def test_a_worker_that_fails_says_why_and_the_others_name_it(
    tmp_path, fault, rank):
  ports = workers_test._free_ports(2)
  started = [workers_test._start(ports, other, tmp_path / 'run',
                                 between_calls=fault if other == rank else None)
             for other in range(2)]
  results = [processes.finish(*one) for one in started]
  broken, other = results[rank], results[1 - rank]
  assert broken.code == 1, broken.err
  assert 'Traceback' in broken.err and 'the compiler is broken' in broken.err
  assert 'Lost worker' not in broken.err
  assert other.code == 143, other.err
  assert 'Traceback' not in other.err
  assert other.err.strip().splitlines()[-1].startswith(
      f'Lost worker {rank} at 127.0.0.1:{ports[rank]} (')
