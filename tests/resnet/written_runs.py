"""Run folders as the trainer leaves them, written by hand in milliseconds."""
import json

import numpy as np

from configs import schema
from pipelines import identity, sources
from resnet.reporting import model_summary
from resnet.run import checkpoint_file

CONFIG = schema.Config(
    model=schema.Model(name='keras_v1', depth=8), train_steps=40,
    global_batch=64)
# (step, accuracy, loss); 10 steps are one epoch.
TRAIN = ((10, 0.25, 2.0), (20, 0.5, 1.25), (30, 0.625, 1.0), (40, 0.75, 0.5))
EVALS = ((10, 0.5, 1.5), (20, 0.75, 0.75), (30, 0.875, 0.875), (40, 0.625, 1.0))


def lines(train=TRAIN, evals=EVALS):
  """Returns the text of a metrics.jsonl."""
  records = [{'split': split, 'step': step, 'time': 1e9 + step, 'loss': loss,
              'accuracy': accuracy, 'epoch': step / 10, **more}
             for split, rows, more in (('train', train, {}),
                                       ('eval', evals, {'examples': 360}))
             for step, accuracy, loss in rows]
  return ''.join(json.dumps(record) + '\n' for record in records)


def data():
  """Returns the record of digits."""
  return identity.record(*(
      sources.load('digits', split).identity for split in ('train', 'test')))


def weights(config=CONFIG, seed=0):
  """Returns {name in the checkpoint: array} of all variables of the network."""
  rng = np.random.default_rng(seed)
  return {f'model/{v.path}': rng.normal(size=v.shape).astype(np.float32)
          for v in model_summary.build(config, data()).variables}


def save(folder, tensors, step):
  """Writes a checkpoint of a run."""
  checkpoint_file.write(
      folder / 'checkpoints' / f'ckpt-{step}',
      {'step': np.array(step, np.int64), **tensors})


def write(folder, metrics=None, config=CONFIG):
  """Writes and returns the folder of a run on digits without a checkpoint.

  Args:
    folder: path; made.
    metrics: text of metrics.jsonl; None: `lines()`.
    config: what is trained.
  """
  (folder / 'checkpoints').mkdir(parents=True)
  for name, values in (('config', schema.to_dict(config)), ('data', data())):
    (folder / f'{name}.json').write_text(json.dumps(values))
  (folder / 'metrics.jsonl').write_text(
      lines() if metrics is None else metrics)
  return folder
