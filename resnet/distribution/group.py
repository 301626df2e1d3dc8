"""The processes that train together, and what they tell each other.

Every process of a run makes one Group and asks it the same questions in the
same order; a question is a collective, which all of them must take part in.

  group = Group.of(strategy)
  step = group.of_chief(newest_step)
"""
import collections
from collections.abc import Mapping, Sequence
import functools
import hashlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from configs.process.errors import TryAgain, UserError

WORKER_JOB = 'worker'  # TensorFlow's name for the tasks of a cluster.


class Disagreement(UserError):
  """The workers differ. All of them learn it from the same collective."""


class Postponed(TryAgain):
  """Some cannot go on now. All workers learn it from the same collective."""


class Group(NamedTuple):
  """The workers of a run as one of them sees them; one if it trains alone."""
  strategy: tf.distribute.Strategy
  rank: int  # Of this process.
  count: int  # Workers.

  @classmethod
  def of(cls, strategy: tf.distribute.Strategy) -> 'Group':
    """Returns the workers that a strategy spans."""
    resolver = strategy.cluster_resolver
    count = resolver.cluster_spec().num_tasks(WORKER_JOB) if resolver else 1
    return cls(strategy, resolver.task_id if count > 1 else 0, count)

  @property
  def is_chief(self) -> bool:
    """Whether this process is the one that writes the run folder."""
    return self.rank == 0

  @property
  def is_alone(self) -> bool:
    """Whether this process trains without others."""
    return self.count == 1

  def exchange(self, values: Sequence[float]) -> np.ndarray:
    """Gives every worker the values of all workers.

    Args:
      values: numbers that float64 holds exactly, equally many on each worker.

    Returns:
      float64 [workers, len(values)].
    """
    if self.is_alone:
      return np.array([values], np.float64)
    own = np.zeros((self.count, len(values)))
    own[self.rank] = values
    return _sum_over_workers(self, own)

  def total(self, values: np.ndarray) -> np.ndarray:
    """Returns the sum of all workers' arrays.

    Args:
      values: numbers whose sums float64 holds exactly; of one shape on all
        workers.

    Returns:
      float64, of the same shape.
    """
    own = values.astype(np.float64)
    return own if self.is_alone else _sum_over_workers(self, own)

  def of_chief(self, value: int) -> int:
    """Gives every worker the chief's value."""
    return int(self.exchange([value])[0, 0])

  def check_same(self, contents: Mapping[str, Sequence[bytes]],
                 remedy: str) -> None:
    """Checks that all workers hold the same bytes.

    Args:
      contents: {what: one item for each copy that a worker holds}, equally many
        on all workers. `what` is a plural noun, for the sentence: 'weights'.
      remedy: what to do if they differ, the end of the sentence.

    Raises:
      Disagreement: they differ; names the workers that differ from most.
    """
    digests = self.exchange([
        # 48 bits: a float64 holds them exactly.
        int.from_bytes(hashlib.sha256(content).digest()[:6])
        for copies in contents.values() for content in copies])
    for what, copies in contents.items():
      own, digests = np.split(digests, [len(copies)], axis=1)
      odd, usual = _odd_and_usual(own)
      if odd:
        raise Disagreement(
            f'The {what} of {", ".join(odd)} differ from those of {usual}: '
            f'{remedy}.')


def _sum_over_workers(group, own):
  """Adds the workers' float64 arrays; own is this worker's."""
  strategy = group.strategy
  replicas = strategy.num_replicas_in_sync // group.count

  def of_replica():  # One replica of each worker has the values, others zeros.
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return tf.where(tf.equal(replica % replicas, 0), own, 0.0)

  @tf.function
  def total():
    return strategy.reduce(
        tf.distribute.ReduceOp.SUM, strategy.run(of_replica), axis=None)

  return total().numpy()


def _odd_and_usual(digests):
  """Names the copies that differ from the most common one.

  Args:
    digests: float64 [workers, copies of each].

  Returns:
    (names of the copies that differ, name of the first that does not). Where
    two digests are equally common, the first one counts as the common one.
  """
  name = functools.partial(_name, several_copies=digests.shape[1] > 1)
  (common, _), *_ = collections.Counter(digests.ravel().tolist()).most_common(1)
  places = list(np.ndindex(digests.shape))
  odd = [name(*place) for place in places if digests[place] != common]
  usual = next(name(*place) for place in places if digests[place] == common)
  return odd, usual


def _name(worker, copy, several_copies):
  return f'worker {worker}' + (f' (replica {copy})' if several_copies else '')
