"""What each process feeds its replicas, and what it tells other processes."""
from collections.abc import Callable, Iterable, Iterator
import contextlib
import os

import tensorflow as tf

from pipelines import batches
from resnet.distribution import strategy as strategy_lib

_iterators = {}  # {use: the newest iterator}; see iterate.


def distribute(strategy: tf.distribute.Strategy,
               make_dataset: Callable) -> tf.distribute.DistributedDataset:
  """Distributes make_dataset(share=...), with one share for each process.

  Where GPUs train, images are prepared by threads of their own, so that those
  which start operations on the GPUs never wait for a picture to be decoded.
  TensorFlow 2.21 makes such threads anyway, but one for each core of the
  machine: too many in a container that may use a few of them.
  """
  replicas = strategy.num_replicas_in_sync
  options = tf.data.Options()
  if strategy_lib.on_gpus(strategy):
    options.threading.private_threadpool_size = _usable_cores()

  def of_process(context):
    local = replicas // context.num_input_pipelines
    return make_dataset(share=batches.Share(
        replicas, context.input_pipeline_id * local, local)
                        ).with_options(options)

  return strategy.distribute_datasets_from_function(of_process)


def _usable_cores():
  """Returns how many cores this process may use.

  In a container, only a variable tells.
  """
  given = os.environ.get('TF_NUM_INTEROP_THREADS', '')
  return (tf.config.threading.get_inter_op_parallelism_threads()
          or (int(given) if given.isdecimal() else 0)
          or len(os.sched_getaffinity(0)))


def iterate(use: str, dataset: Iterable) -> Iterator:
  """Returns an iterator, kept alive until the next one for the same use.

  Freeing one in mid-stream takes a second, or five on a busy machine. At the
  end of a process that was told to stop, all other workers would wait for it.
  """
  _iterators[use] = iter(dataset)
  return _iterators[use]


def host_values(stop: object, step_secs: float) -> tf.Tensor:
  """Returns what this process adds to the sum that all processes see.

  The number of steps in a call follows from that sum, too. A collective only
  meets that of the same iteration of the same call, so workers that chose by
  their own clocks would wait for each other indefinitely.

  Args:
    stop: true if this process was asked to stop.
    step_secs: seconds each step of its last call took.

  Returns:
    float32 [2].
  """
  return tf.constant([float(bool(stop)), step_secs])


@contextlib.contextmanager
def explained(source, examples: Callable[[], Iterable[int]]) -> Iterator[None]:
  """Turns TensorFlow's error about unreadable input into its explanation.

  Args:
    source: see pipelines/sources.py.
    examples: returns the examples that may have been read meanwhile; called
      after an error.
  """
  try:
    yield
  except (tf.errors.InvalidArgumentError, tf.errors.UnknownError) as error:
    explanation = source.explain(examples())
    if explanation:
      raise explanation from error
    raise
