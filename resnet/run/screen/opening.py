"""What a run says of itself when it starts."""
from collections.abc import Mapping
from typing import Any

from resnet.run import (
  description,
  extension,
  software,
  starts,
  surroundings,
)
from resnet.run.events import start
from resnet.run.screen import report, start_block
from resnet.weights import starting


def describe(run: Any, data: Mapping[str, Any],
             init: Mapping[str, Any] | None) -> None:
  """Says what a run is: in its folder, in TensorBoard and on the screen.

  Args:
    run: the session.Session.
    data: record of the data, see pipelines.identity.record.
    init: what it began from, see weights/starting.py; None: fresh weights.
  """
  replicas, before = report.replicas(run.group), run.folder.description
  settings = surroundings.of(run.options, software.code_digest())
  changes: list[str] = []  # Since the run was last trained.
  if run.group.is_chief:
    if run.folder.before:
      extended = extension.record(
          run.folder.path, run.step, run.folder.before, run.config)
      run.bar.say(extended)
      changes.append(extended)
    run.folder.describe(run.config, data,
                        {'replicas': replicas, 'settings': settings,
                         'data_dir': run.options.reading.folder,
                         **({'init': init} if init else {})})
    starts.record(run.folder.path, run.step)
    if not run.step:
      start.write(run, data, init, settings)
  run.bar.block(start_block.text(
      run.config, data, replicas, start_block.counts_of(run.model),
      strategy=start_block.strategy_name(run.group.strategy),
      epochs=run.epoch(run.total_steps), step=run.step,
      total_steps=run.total_steps, path=run.folder.path))
  if not run.step:
    if init:
      run.bar.say(starting.text(init))
    if run.config.finetune.frozen:
      run.bar.say(report.frozen_text(run.config, sum(
          p.shape.num_elements() for p in run.state.params)))
    return
  for change in _changes(before, replicas, settings, _norm_batch(run)):
    run.bar.say(change)
    changes.append(change)
  if changes and run.group.is_chief:
    start.write_restart(run, changes)


def _norm_batch(run):
  """Returns the images that batch norm's statistics share; see moved_text."""
  config = run.config
  shared = bool(run.state.moving) and not config.model.sync_batch_norm
  return config.global_batch // config.optimizer.accumulate if shared else 0


def _changes(before, replicas, settings, norm_batch):
  """Returns a line for each thing that is not as it was before.

  Args:
    before: see description.read.
    replicas: see report.replicas.
    settings: see surroundings.of.
    norm_batch: see report.moved_text.
  """
  if replicas != before.get('replicas'):
    yield report.moved_text(before.get('replicas'), replicas, norm_batch)
  differing = 'settings' in before and surroundings.differences(
      description.settings(before), {**software.versions(), **settings})
  if differing:
    yield report.settings_text(differing)
