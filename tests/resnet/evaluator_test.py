"""An evaluation counts every example once, and stops when asked."""
import numpy as np
import pytest

from resnet import network
from resnet.evaluation import evaluator
from tests.resnet import small_runs, strategies


def _evaluate(config, replicas, source):
  """Returns (model, state, evaluator.Evaluate) with fresh weights."""
  strategy = strategies.on_cpus(replicas)
  model, state = network.build(config, strategy, source)
  return model, state, evaluator.Evaluate(
      config, strategy, model, state, source, jit='false')


@pytest.mark.parametrize('replicas, batch', [
    (1, 4), (2, 4), (3, 4), (3, 500), (2, 6), (1, 10)])
def test_each_example_counts_once(replicas, batch):
  source = small_runs.random_source(11, classes=7)
  model, state, evaluate = _evaluate(
      small_runs.config(eval_batch=batch), replicas, source)
  values = evaluate()

  images = source.images.numpy().astype(np.float32)
  x = (images - state.mean.numpy()) / state.stddev.numpy()
  loss, correct, top5 = 0.0, 0, 0
  for logits, label in zip(
      model({'image': x}, training=False).numpy().astype(float),
      source.labels.numpy(), strict=True):
    loss += np.log(np.exp(logits).sum()) - logits[label]
    rank = list(np.argsort(-logits)).index(label)
    correct, top5 = correct + (rank < 1), top5 + (rank < 5)
  assert values['examples'] == 11
  assert values['accuracy'] == pytest.approx(correct / 11, abs=1e-7)
  assert values['top5_accuracy'] == pytest.approx(top5 / 11, abs=1e-7)
  assert values['loss'] == pytest.approx(loss / 11, rel=1e-5)


def test_a_request_to_stop_ends_the_evaluation_without_values():
  _, _, evaluate = _evaluate(
      small_runs.config(), 2, small_runs.random_source(11))
  assert evaluate(lambda: 'SIGTERM') is None
