"""Evaluates a run: its loss and accuracy, or in depth what they hide.

  found = evaluate('runs/digits_resnet8', checkpoint='best', details=True)
  found['accuracy'], found['ece'], found['folder']
"""
import functools
import os
import pathlib
import sys
from typing import Any

import tensorflow as tf

from resnet.distribution import out_of_memory
from resnet.distribution import strategy as strategy_lib
from resnet.evaluation import evaluator, figures, in_depth, trained
from resnet.evaluation import examples as examples_lib
from resnet.inference.logits import Logits
from resnet.models import own
from resnet.run import software


def evaluate(workdir: str | os.PathLike, *, checkpoint: str = 'latest',
             data: str | None = None, split: str | None = None,
             reading: Any = None,
             strategy: tf.distribute.Strategy | None = None, jit: str = 'auto',
             flip: bool | None = None, average_checkpoints: int = 0,
             details: bool = False, fit_temperature: bool = False,
             output: str | os.PathLike | None = None) -> dict[str, Any]:
  """Evaluates a checkpoint of a run on a split; each example counts once.

  Args:
    workdir: the run folder.
    checkpoint: 'latest', 'best', or the step of one.
    data: name of a data set with the same classes; None: the run's own.
    split: of it; None: the run's evaluation split.
    reading: how to read it, see pipelines/options.py; None: as by default. The
      data_dir is the one that the run was trained with unless this gives
      another.
    strategy: the devices; None: all of this process.
    jit: whether to compile with XLA: 'true', 'false' or 'auto'.
    flip: whether to average the logits of each image and its mirror image;
      None: as the run's config says.
    average_checkpoints: evaluates the mean of the weights, and of the batch
      statistics, of this many checkpoints, the newest up to `checkpoint`. 0:
      does not.
    details: whether to look at every example, and to write what is found: see
      in_depth.py.
    fit_temperature: with details: also fits a temperature to the logits.
    output: the folder for the details; None: eval_<data>_<split>_step<step> in
      the run folder.

  Returns:
    What evaluator.Evaluate returns: {'loss', 'accuracy', 'examples', ...}; and
    {'step', 'checkpoints': [steps], 'data', 'split'}. With details also
    {'ece', 'details': see figures.of, 'temperature': see
    figures.temperature_of, if it was fitted, 'folder', 'written': [names of
    files]}.

  Raises:
    UserError: the user can fix it.
    TryAgain: something cannot be read or written now.
  """
  strategy = strategy or _all_devices()
  run = trained.open_run(
      workdir, strategy, which=checkpoint, data=data, split=split,
      reading=reading, flip=flip, average=average_checkpoints)
  what = {'step': run.steps[-1], 'checkpoints': run.steps,
          'data': run.config.data.name, 'split': run.split}
  if not details:
    measured = evaluator.Evaluate(
        run.config, strategy, run.model, run.state, run.source, jit=jit)()
    assert measured is not None  # Nothing asked it to stop.
    return {**measured, **what}
  folder = pathlib.Path(output) if output else run.workdir / (
      in_depth.folder_name(run.config.data.name, run.split, run.steps, flip))
  in_depth.prepare(folder)
  examples = _look_at(run, strategy, jit, fit_temperature)
  hidden = figures.of(examples, run.classes)
  found = {**examples_lib.sums(examples, len(run.classes)), **what,
           'ece': hidden['ece'], 'details': hidden}
  if fit_temperature:
    found['temperature'] = figures.temperature_of(
        examples, run.config.loss, run.split)
  written = in_depth.write(folder, examples, run.classes, run.source,
                           {**found, 'origin': _origin(run)})
  return {**found, 'folder': str(folder), 'written': written}


@functools.cache  # Two over the same devices would share collective keys.
def _all_devices():
  return strategy_lib.make('mirrored')


def _look_at(run, strategy, jit, keep_logits):
  """Returns the Examples of a run's split."""
  most = run.config.eval_batch
  batch = examples_lib.batch_of(run.source, most, strategy.num_replicas_in_sync)
  logits = Logits(run.config, run.model, run.state, strategy, jit=jit,
                  batch=batch)
  with out_of_memory.explained('config.eval_batch', most,
                               batch // strategy.num_replicas_in_sync):
    return examples_lib.look_at(
        run.source, logits, batch, run.config.loss, keep_logits=keep_logits,
        metrics=own.metrics(run.config))


def _origin(run):
  """Returns what else identifies an evaluation, for metrics.json."""
  identity = run.source.identity
  return {'run': str(run.workdir), 'network': run.config.model.name,
          'loss_function': run.config.loss,
          'mirror_images': run.config.data.eval_flip,
          'moving_average': bool(run.config.ema.decay
                                 and run.config.ema.evaluated),
          'data_version': identity.version, 'data_digest': identity.digest,
          'command': sys.argv, 'versions': software.versions()}
