"""Starts a run from weights, once: what --init_from and --keep_optimizer ask.

  record = begin(options, group, folder, step, config, model, state, classes)

The weights are read if the run has no checkpoint yet, and never again. What was
read is kept in run.json before the first step, so that a run that is killed
before its first checkpoint starts from the same bytes or not at all.
"""
from collections.abc import Mapping, Sequence
import os
from typing import Any

import keras

from configs import schema
from configs.process import command_line
from configs.process.errors import UserError
from resnet.distribution import agreement
from resnet.distribution.group import Group
from resnet.execution.options import Options
from resnet.run import description
from resnet.run.run_folder import RunFolder
from resnet.state import State
from resnet.weights import imported, placing

_DIGITS = 12  # Of a digest that are shown.


def begin(options: Options, group: Group, folder: RunFolder, step: int,
          config: schema.Config, model: keras.Model, state: State,
          classes: Sequence[str]) -> dict[str, Any] | None:
  """Gives a run at its start the weights that it starts from, on all workers.

  Args:
    options: how the run executes.
    group: the workers.
    folder: of the run.
    step: of the checkpoint that was restored; 0: none was.
    config: what is trained.
    model: the network.
    state: its state; at step 0 it is changed.
    classes: names of the classes.

  Returns:
    The record for run.json; None if the run starts from fresh weights:
    {'what': text, 'source': words, 'digest': hex digits, 'step': int or None,
    'made_new': [names], 'statistics': 'weights' or 'data',
    'keep_optimizer': bool}.

  Raises:
    UserError: the weights cannot be read or are others than before, or the run
      began from others, or without any.
    TryAgain: they cannot be read now.
  """
  group.check_same(
      {'values of --init_from and --keep_optimizer': [
          f'{options.init_from} {options.keep_optimizer}'.encode()]},
      'start all workers with the same command')

  def look():
    known = (folder.description if group.is_chief
             else description.read(folder.path))
    check(options, known, folder.path, step > 0)
    return known.get('init')

  before = agreement.on_all(
      group, look, f'{folder.path} cannot be continued')
  what = _absolute(options.init_from) or (before or {}).get('what')
  if step or not what:
    return before
  keep = (before or {}).get('keep_optimizer', options.keep_optimizer)

  def read():
    source = imported.read(_same_step(before) if before else what)
    if keep:
      placing.check_optimizer(source, config)
    weights = imported.fit(source, model, config, classes)
    if before and before['digest'] != weights.digest:
      raise UserError(
          f'--init_from={what} has changed since this run began from it '
          f'(SHA-256 {before["digest"][:_DIGITS]}... -> '
          f'{weights.digest[:_DIGITS]}...), and the run has no checkpoint yet: '
          'restore the weights that it began from, or give another --workdir.')
    return source, weights

  source, weights = agreement.on_all(
      group, read, f'The weights {what} cannot be read')
  group.check_same({'weights to start from': [weights.digest.encode()]},
                   'give all workers the same files')
  follows = placing.place(weights, config, model, state)
  if keep:
    placing.place_optimizer(source, weights, config, state)
  return {'what': what, 'source': weights.source, 'digest': weights.digest,
          'step': source.step, 'made_new': list(weights.made_new),
          'statistics': 'weights' if follows else 'data',
          'keep_optimizer': keep}


def check(options: Options, known: Mapping[str, Any],
          path: str | os.PathLike, begun: bool = True) -> None:
  """Checks that a run can be continued with these options.

  Args:
    options: how the run executes.
    known: what run.json says of it, see description.read.
    path: of the run folder.
    begun: whether the run has a checkpoint.

  Raises:
    UserError: it began from other weights, or without any.
  """
  given, before = _absolute(options.init_from), known.get('init')
  if given is None:
    if options.keep_optimizer and not (before or {}).get('keep_optimizer'):
      raise UserError('--keep_optimizer is for a run that starts from another '
                      'one: give --init_from=RUN, too, or leave it out.')
    return
  if before is None and 'versions' in known:
    raise UserError(
        f'--init_from={given} is for the start of a run, but --workdir={path} '
        'holds a run that began without it: leave it out to continue that run, '
        'or give another --workdir.')
  if before is None:
    if begun:
      command_line.warn(
          f'{path}/{description.FILE} does not say what this run began from: '
          f'--init_from={given} is not read.')
    return
  if before['what'] != given:
    raise UserError(
        f'--init_from={given} differs from what the run in --workdir={path} '
        f'began from: give --init_from={before["what"]}, or leave it out, to '
        'continue that run, or give another --workdir.')
  if before['keep_optimizer'] != options.keep_optimizer:
    raise UserError(
        f'--keep_optimizer={str(options.keep_optimizer).lower()} differs from '
        f'how the run in --workdir={path} began: give --keep_optimizer='
        f'{str(before["keep_optimizer"]).lower()} to continue that run, or '
        'give another --workdir.')


def text(record: Mapping[str, Any]) -> str:
  """Returns one line: what a run starts from."""
  kept = ', with its optimizer' if record['keep_optimizer'] else ''
  new = record['made_new']
  fresh = f'; {" and ".join(new)} are made new' if new else ''
  input_of = ('' if record['statistics'] == 'weights'
              else '; the mean and deviation of the input are those of the '
              'config or of the data')
  return (f'starting from {record["source"]}{kept} (SHA-256 '
          f'{record["digest"][:_DIGITS]}...){fresh}{input_of}')


def _same_step(record):
  """Returns a text for what was read: of a run, the step that it had then."""
  what, step = record['what'], record['step']
  if step is None:
    return what
  folder = what if os.path.isdir(what) else what.rpartition(':')[0]
  return f'{folder}:{step}'


def _absolute(what: str | os.PathLike[str] | None) -> str | None:
  """Returns the text of --init_from with an absolute path; None if not given.
  """
  if what is None:
    return None
  return os.path.abspath(os.path.expanduser(os.fspath(what)))
