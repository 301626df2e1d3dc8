"""A run folder alone gives the network that was evaluated at its end."""
import json

import numpy as np
import pytest
import tensorflow as tf

from configs import schema
from configs.process.errors import UserError
from pipelines import sources
from resnet import loop
from resnet.execution.options import Options
from resnet.inference import restored
from resnet.inference.logits import Logits
from resnet.run import summaries
from tests.resnet import strategies


@pytest.fixture(scope='module')
def run_folder(tmp_path_factory):
  """A run on digits that evaluates averaged weights and mirror images."""
  folder = tmp_path_factory.mktemp('run')
  config = schema.Config(
      model=schema.Model(depth=8, width=4, dropout=0.1),
      data=schema.Data(eval_flip=True, center='pixel'),
      ema=schema.Ema(decay=0.9), train_steps=30, global_batch=64)
  loop.train_and_evaluate(config, strategies.on_cpus(1), folder, Options(
      eval_every_steps=10, save_every_steps=10))
  return folder


@pytest.mark.parametrize('replicas, batch', [(0, 64), (1, 64), (2, 7)])
@pytest.mark.parametrize('which', ['latest', '20'])
def test_logits_give_the_loss_and_accuracy_of_the_run(
    run_folder, replicas, batch, which):
  strategy = (strategies.on_cpus(replicas) if replicas
              else tf.distribute.get_strategy())
  trained = restored.restore(run_folder, which, strategy)
  assert trained.classes == tuple('0123456789')
  assert trained.image_shape == (8, 8, 1)
  step = trained.step
  assert step == (30 if which == 'latest' else 20)
  source = sources.load('digits', 'test')

  logits = Logits(trained.config, trained.model, trained.state, strategy,
                  batch=batch)(source.images.numpy())

  assert logits.shape == (360, 10) and logits.dtype == np.float32
  labels = source.labels.numpy()
  loss = tf.keras.losses.sparse_categorical_crossentropy(
      labels, logits, from_logits=True)
  record, = (r for r in summaries.read(run_folder / 'metrics.jsonl')
             if r['split'] == 'eval' and r['step'] == step)
  np.testing.assert_allclose(np.mean(loss), record['loss'], rtol=1e-5)
  assert np.mean(logits.argmax(1) == labels) == pytest.approx(
      record['accuracy'])


def test_best_is_the_most_accurate(run_folder):
  records = [r for r in summaries.read(run_folder / 'metrics.jsonl')
             if r['split'] == 'eval']
  best = max(records, key=lambda r: (r['accuracy'], r['step']))
  assert restored.restore(run_folder, 'best').step == best['step']


@pytest.mark.parametrize('which, text', [
    ('newest', 'give latest, best, or a step'),
    ('17', 'choose one of 10, 20, 30')])
def test_a_checkpoint_that_is_not_there(run_folder, which, text):
  with pytest.raises(UserError, match=text):
    restored.restore(run_folder, which)


def test_a_folder_that_is_not_whole(tmp_path, run_folder):
  with pytest.raises(UserError, match='is not a run folder'):
    restored.restore(tmp_path)
  (tmp_path / 'config.json').write_text(
      (run_folder / 'config.json').read_text())
  with pytest.raises(UserError, match='data.json is missing'):
    restored.restore(tmp_path)
  data = tmp_path / 'data.json'
  data.write_text('{}')
  with pytest.raises(UserError, match='data.json is damaged'):
    restored.restore(tmp_path)
  data.write_text((run_folder / 'data.json').read_text())
  with pytest.raises(UserError, match='There is no checkpoint .*train first'):
    restored.restore(tmp_path)
  config = json.loads((tmp_path / 'config.json').read_text())
  config['model']['depth'] = 'eight'
  (tmp_path / 'config.json').write_text(json.dumps(config))
  with pytest.raises(UserError, match='config.json is damaged'):
    restored.restore(tmp_path)
