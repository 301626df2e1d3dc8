"""Traces calls as GPUs would run them and reads their graphs, without a GPU.

  calls = trace(config, strategy_over(2), train_source, eval_source)
  findings(calls)['without_kernel']
"""
import collections
from collections.abc import Callable, Iterator
import contextlib
import functools
from typing import Any, NamedTuple
from unittest import mock

import tensorflow as tf

from resnet import network, trainer
from resnet.distribution import group
from resnet.distribution import strategy as strategy_lib
from resnet.evaluation import evaluator
from tests.resnet import strategies
from tests.resnet.gpu_graphs import (
  decided_by_devices,
  device_name,
  DEVICES,
  Graph,
  in_condition,
  in_step,
  with_small_integers,
  without_kernel,
)


class Calls(NamedTuple):
  """What a run executes on its devices, traced."""
  train: Graph
  evaluate: Graph
  weights: Graph  # Reads all that the drift check compares.
  exchange: Graph  # Of a Group.
  batches: list[str]  # Where they come from, and the devices that they go to.
  compiled: list[Any]  # Concrete functions of `train` and `evaluate`, for XLA.
  model: Any  # A Keras model.


def strategy_over(replicas: int) -> tf.distribute.Strategy:
  """Returns the strategy of one process over 1 or 2 devices."""
  return strategies.over(tuple(DEVICES[:replicas]))


def trace(config, strategy, train_source, eval_source, *,
          digest_positions=False) -> Calls:
  """Traces everything that a run with --jit=auto executes on GPUs.

  With digest_positions, it keeps its gradients, too.
  """
  with _gpus(), recorded_functions() as made:
    model, state = network.build(config, strategy, train_source)
    train = trainer.Train(
        config, strategy, model, state, train_source, jit='auto', first_step=0,
        digest_positions=digest_positions, keep_gradients=digest_positions)
    evaluate = evaluator.Evaluate(
        config, strategy, model, state, eval_source, jit='auto',
        keeps_seen=True)
    graphs = [Graph.of(_traced(train, lambda: train(0, 1, stop=None))),
              Graph.of(_traced(evaluate, evaluate))]
  compiled = [concrete for function in made if function._jit_compile
              and function.experimental_get_tracing_count()  # Keras's are not.
              for concrete in function._list_all_concrete_functions()]
  batches = [device_name(iterator.device) for iterator in tf.nest.flatten(
      train._iterator, expand_composites=True)]
  copies = tf.nest.flatten([getattr(variable, 'values', (variable,))
                            for variable in state.paths.values()])
  weights = tf.function(lambda: [copy.read_value() for copy in copies])
  return Calls(*graphs, Graph.of(weights.get_concrete_function()),
               exchange(strategy), batches, compiled, model)


def exchange(strategy) -> Graph:
  """Traces what a Group of two or more workers asks its devices for."""
  with recorded_functions() as made:
    group._sum_over_workers(
        group.Group(strategy, rank=0, count=1), [[1.0, 2.0]])
  total, = made
  return Graph.of(total.get_concrete_function())


@contextlib.contextmanager
def recorded_functions() -> Iterator[list[Any]]:
  """Notes every tf.function that is made in the block."""
  make, made = tf.function, []

  def function(func: Callable | None = None, **options) -> Any:
    if func is None:
      return functools.partial(function, **options)
    made.append(make(func, **options))
    return made[-1]

  with mock.patch.object(tf, 'function', function):
    yield made


def _gpus():
  """Makes the code believe that all devices are GPUs."""
  return mock.patch.object(strategy_lib, 'on_gpus', lambda _: True)


class _Traced(Exception):
  """Carries the concrete function that would have been called."""


def _traced(owner, call):
  """Returns the concrete function that `call` runs as `owner._run`."""
  run = owner._run

  def stop(*arguments):
    raise _Traced(run.get_concrete_function(*arguments))

  with mock.patch.object(owner, '_run', stop):
    try:
      call()
    except _Traced as traced:
      return traced.args[0]
  raise AssertionError(f'{owner} did not run anything.')


def findings(calls: Calls) -> dict[str, Any]:
  """Returns all that the functions above find, for json."""
  graphs = (calls.train, calls.evaluate, calls.weights, calls.exchange)
  loops = (calls.train, calls.evaluate)
  of_step = collections.Counter(
      f'{node.op} {node.device}' for node in in_step(calls.train))

  def devices_of(*ops):
    return {name.partition(' ')[2]: count for name, count in of_step.items()
            if name.partition(' ')[0] in ops}

  return {
      'without_kernel': sorted(set().union(*map(without_kernel, graphs))),
      'small_integers': sorted(set().union(*map(with_small_integers, graphs))),
      'condition': sum(map(in_condition, loops), []),
      'decided': decided_by_devices(calls.train),
      'batches': calls.batches,
      'collectives': devices_of('CollectiveReduceV2', 'NcclAllReduce', 'AddN')}
