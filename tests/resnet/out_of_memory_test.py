"""Too little memory is one sentence; other errors stay what they are."""
import pytest
import tensorflow as tf

from configs.process.errors import UserError
from resnet.distribution import out_of_memory

# From TensorFlow 2.x and XLA, as users report them.
_BFC = ('{{function_node __wrapped__Conv2D}} OOM when allocating tensor with '
        'shape[128,256,56,56] and type float on /job:localhost/replica:0/task:0'
        '/device:GPU:1 by allocator GPU_1_bfc [Op:Conv2D]')
_XLA = ('Out of memory while trying to allocate 17179869184 bytes.\n'
        'BufferAssignment OOM Debugging.')
_ORDINAL = (
    '2 root error(s) found.\n  (0) RESOURCE_EXHAUSTED: Collective ops is '
    'aborted by: OOM when allocating\n  (1) RESOURCE_EXHAUSTED: Failed to '
    'allocate request for 2.00GiB (2147483648B) on device ordinal 0')


def _explained(message, replica_batch=128, payloads=None):
  with pytest.raises(Exception) as caught:
    with out_of_memory.explained('config.global_batch', 1024, replica_batch):
      raise tf.errors.ResourceExhaustedError(
          None, None, message, *([payloads] if payloads else []))
  return caught.value


@pytest.mark.parametrize('message, where, cause', [
    (_BFC, 'GPU:1', '(OOM when allocating tensor with shape[128,256,56,56]'),
    (_XLA, 'its device',
     '(Out of memory while trying to allocate 17179869184 bytes):'),
    (_ORDINAL, 'its device', '(Failed to allocate request for 2.00GiB')])
def test_too_little_memory_is_one_sentence(message, where, cause):
  error = _explained(message)
  assert isinstance(error, UserError)
  text = str(error)
  assert text.startswith(
      'A step of 128 images on each replica (config.global_batch=1024) needs '
      f'more memory than is free on {where} (')
  assert cause in text and '\n' not in text
  assert text.endswith(
      '): lower config.global_batch, use more devices, set '
      'config.precision=bfloat16 if it is float32, or end other processes that '
      'use the memory.')
  assert isinstance(error.__cause__, tf.errors.ResourceExhaustedError)


def test_one_image_cannot_become_fewer():
  assert 'lower' not in str(_explained(_XLA, replica_batch=1))


@pytest.mark.parametrize('message, payloads', [
    ('/runs/r/checkpoints/x: No space left on device', None),
    ('Too many open files', None),
    ('Received message larger than max (5 vs. 4)', None),
    # Another worker's memory.
    ('Collective ops is aborted by: OOM when allocating tensor', None),
    (_BFC, {b'type.googleapis.com/tensorflow.DerivedStatus': b''})])
def test_other_errors_stay_what_they_are(message, payloads):
  error = _explained(message, payloads=payloads)
  assert type(error) is tf.errors.ResourceExhaustedError


@pytest.mark.slow  # TensorFlow waits 10 s for memory to become free.
def test_the_error_of_a_real_allocation_is_recognized():
  with pytest.raises(UserError, match=r'free on CPU:0 \(OOM when allocating '
                     r'tensor with shape\[\d+,\d+\] and type float'):
    with out_of_memory.explained('config.eval_batch', 8, 8):
      tf.ones([2**30, 2**20]) + 1.0


def test_what_goes_well_is_left_alone():
  with out_of_memory.explained('config.global_batch', 8, 8):
    pass
