"""A run in progress: everything that the functions of the loop share.

  run = start(config, group, folder, options, beat, watch, stop_requested)
"""
from collections.abc import Callable, Mapping
import dataclasses
import json
import os
import pathlib
import time
from typing import Any

from configs import combinations, schema
from configs.process import command_line
from configs.process.errors import TryAgain, UserError
from pipelines import identity, sources
from resnet import network, plan, trainer
from resnet import state as state_lib
from resnet.distribution import agreement, strategy
from resnet.distribution.group import Group
from resnet.distribution.heartbeats import Heartbeats
from resnet.evaluation import evaluator
from resnet.execution.options import Options
from resnet.optimization import monitor
from resnet.run import (
  checkpoint,
  data_record,
  description,
  extension,
  summaries,
)
from resnet.run.events import pictures
from resnet.run.loggers.loggers import Loggers
from resnet.run.measures.machine_use import MachineUse
from resnet.run.measures.step_times import StepTimes
from resnet.run.measures.stopwatch import Stopwatch
from resnet.run.profiling.recording import Recording
from resnet.run.run_folder import RunFolder
from resnet.run.screen import opening, progress, time_left
from resnet.weights import starting


@dataclasses.dataclass
class Session:
  """A run in progress, in one of its processes."""
  config: schema.Config
  options: Options
  group: Group
  folder: RunFolder
  beat: Heartbeats
  watch: Stopwatch
  stop_requested: Callable[[int], object]

  train_size: int  # Examples of the training split.
  total_steps: int
  logs: plan.Every
  evals: plan.Every
  saves: plan.Every
  histograms: plan.Every

  model: Any  # The Keras model that is trained.
  train: trainer.Train
  evaluate: evaluator.Evaluate
  state: state_lib.State
  checkpoints: checkpoint.Checkpoints
  profile: Recording
  machine_use: MachineUse
  loggers: Loggers
  written: summaries.Summaries
  bar: progress.Progress

  first_step: int  # Updates done before this process.
  step: int  # Updates done.
  lap_step: int  # Where the speed of the next log point is counted from.
  saved_at: float  # When the last checkpoint was begun, on the monotonic clock.
  save_began: float = 0.0  # When its copy to the host was begun, likewise.
  stop: bool = False  # Whether some process was asked to stop.
  ends_early: bool = False  # Whether config.monitor ends the run here.
  returned_to: int = 0  # Step that the loss last broke after; recovery.py.
  new_best: bool = False  # Whether the evaluation of this step is a best one.
  warned_of_input: bool = False
  warned_of_pictures: bool = False
  step_times: StepTimes = dataclasses.field(default_factory=StepTimes)

  @property
  def is_last(self) -> bool:
    """Whether all updates are done, or the monitor ends the run."""
    return self.step == self.total_steps or self.ends_early

  def epoch(self, step: int) -> float:
    """Returns the passes over the training split after `step` updates."""
    return plan.epoch(step, self.config, self.train_size)

  def go_to(self, step: int) -> None:
    """Continues from a step whose checkpoint has been restored."""
    self.written.close()
    self.written = summaries.Summaries(
        self.folder.path, step, chief=self.group.is_chief,
        listeners=[self.loggers])
    self.train.open_at(step)
    self.step_times.reset()
    self.step = self.first_step = self.lap_step = step

  def watch_metric(self, values: Mapping[str, float]) -> None:
    """Has the monitor look at the metrics of an evaluation of this step."""
    state, settings = self.state, self.config.monitor
    seen, scale = monitor.after(
        state.monitor.numpy().tolist(), float(state.rate_scale.numpy()),
        self.step, values[settings.metric], settings)
    state.monitor.assign(seen)
    state.rate_scale.assign(scale)
    self.ends_early = monitor.ends(seen, settings)

  def asked_to_stop(self, phase: str) -> object:
    """Notes what this process does now; returns whether it is to stop."""
    self.beat.note(phase, self.step)
    return self.stop_requested(self.step)


def start(config: schema.Config, group: Group, folder: RunFolder,
          options: Options, beat: Heartbeats, watch: Stopwatch,
          stop_requested: Callable[[int], object]) -> Session:
  """Builds a run, restores its newest checkpoint, and describes it.

  Args:
    config: what is trained.
    group: the workers.
    folder: the open run folder.
    options: how the run executes.
    beat: this worker's heartbeat, started.
    watch: counts the time of this process.
    stop_requested: see loop.train_and_evaluate.

  Raises:
    UserError: the user can fix it.
  """
  with watch.activity('start_up'):
    train_source, eval_source, data = _load_data(
        config, group, folder, options)
    _check(config, group, options, train_source, eval_source)
    model, state = network.build(config, group.strategy, train_source,
                                 options.deterministic)
    total_steps = plan.total_steps(config, train_source.size)
    profile = Recording(options, folder.path, group.rank, total_steps)
    checkpoints = checkpoint.Checkpoints(
        folder.checkpoints, state.paths,
        {'config': schema.to_dict(config), 'data': data}, options.keep_last,
        extension.earlier(folder.path, folder.before))
    step = restore(checkpoints, group, state, total_steps)
    init = starting.begin(
        options, group, folder, step, config, model, state, data['classes'])
    if init and not step:
      check_weights(group, state)
    train = trainer.Train(
        config, group.strategy, model, state, train_source, jit=options.jit,
        first_step=step, digest_positions=options.log_positions,
        pack_mib=options.pack_mib,
        keep_gradients=bool(options.histograms_every_steps))
    evaluate = evaluator.Evaluate(
        config, group.strategy, model, state, eval_source, jit=options.jit,
        keeps_seen=True)
    logs, evals, saves = _events(config, options, train_source.size)
    loggers = Loggers(
        folder.path, config, options.log_to if group.is_chief else (),
        warn=lambda text: run.bar.say(f'warning: {text}', 'yellow'))
    run = Session(
        config=config, options=options, group=group, folder=folder, beat=beat,
        watch=watch, stop_requested=stop_requested,
        train_size=train_source.size, total_steps=total_steps,
        logs=logs, evals=evals, saves=saves,
        histograms=plan.every_steps(options.histograms_every_steps),
        model=model, train=train,
        evaluate=evaluate, state=state, checkpoints=checkpoints,
        profile=profile, machine_use=MachineUse(
            config, group, model, train_source.image_shape, total_steps),
        loggers=loggers, written=summaries.Summaries(
            folder.path, step, chief=group.is_chief, listeners=[loggers]),
        bar=progress.Progress(
            total_steps, step,
            None if group.is_chief else open(
                os.devnull, 'w', encoding='utf-8'),
            left=time_left.TimeLeft(
                total_steps, evals=evals, saves=saves,
                save_every_secs=options.save_every_secs,
                # Forward alone takes about a third of an update.
                eval_steps=eval_source.size / config.global_batch / 3)),
        first_step=step, step=step, lap_step=step, saved_at=time.monotonic(),
        ends_early=monitor.ends(
            state.monitor.numpy().tolist(), config.monitor))
    opening.describe(run, data, init)
    pictures.write_input(run, train_source)
    profile.announce(run)
  return run


def _check(config, group, options, train_source, eval_source):
  """Raises UserError if the config does not fit the data or the options."""
  plan.check(config, train_source.size)
  for warning in (plan.warning(config, train_source.size),
                  strategy.without_xla_warning(options.jit, group.strategy)):
    if warning and group.is_chief:
      command_line.warn(warning)
  combinations.check_run(
      config, eval_source.num_classes, saves=bool(options.save_every_steps),
      several=bool(options.eval_every_epochs or options.eval_every_steps))
  combinations.check_images(config, *train_source.image_shape[:2])


def check_finished(config: schema.Config, workdir: pathlib.Path,
                   options: Options) -> dict[str, Any] | None:
  """Checks that a finished run is the one that is asked for.

  It must have been trained on the data that are there now. It has nothing left
  to do, so that the data may be gone; then it only warns.

  Returns:
    The record of the data, if the run folder has none; see identity.record.

  Raises:
    UserError: the data differ, or the weights that it began from.
  """
  starting.check(options, description.read(workdir), workdir)
  try:
    data = identity.record(*(
        split.identity for split in _open_splits(config, options.reading)))
  except (UserError, TryAgain) as error:
    command_line.warn('the data of this run are not compared with those that '
                      f'are there now: {error}')
    return None
  lack = data_record.check(workdir, data)
  if lack:
    command_line.warn(f'{lack}: it is not known whether the data are still '
                      'those that this run was trained on.')
  return data if lack else None


def check_weights(group: Group, state: state_lib.State) -> None:
  """Checks that no replica has drifted from the others.

  Waits for the devices.

  Raises:
    group.Disagreement: some have; names their workers.
  """
  if group.strategy.num_replicas_in_sync > 1:
    group.check_same(
        {'weights': state_lib.digests(state)}, 'no training step can do that, '
        'so check that machine for hardware faults; rerun the same command to '
        'continue from the last checkpoint')


def _open_splits(config, reading):
  """Returns the training and the evaluation split; decodes nothing."""
  data = config.data
  return [sources.open_split(data, split, reading, made=config.synthetic)
          for split in (data.train_split, data.eval_split)]


def _load_data(config, group, folder, options):
  """Returns (training split, evaluation split, their record).

  Raises:
    UserError: they are not the ones that the run began with.
    Disagreement: the workers have different ones.
  """
  splits = _open_splits(config, options.reading)
  data = identity.record(*(split.identity for split in splits))
  group.check_same(
      {'data sets': [json.dumps(data).encode()]}, 'prepare the same data on '
      'all workers, or give a --data_dir that they share')
  begun = bool(checkpoint.steps_in(folder.checkpoints))
  if begun or (folder.path / data_record.FILE).exists():
    lack = data_record.check(folder.path, data, options.extend)
    if lack and group.is_chief:
      command_line.warn(f'{lack}: it is written anew' + (
          ', if the checkpoints were trained on the same data.' if begun
          else '.'))
  return *(sources.decoded(split, options.reading) for split in splits), data


def restore(checkpoints: checkpoint.Checkpoints, group: Group,
            state: state_lib.State, last_step: int) -> int:
  """Restores the newest checkpoint that the chief can read, on all workers.

  Returns:
    Its step; 0 if there is none.
  """
  def restore_newest():
    if group.is_chief:
      checkpoints.sweep()
      return checkpoints.restore(last_step=last_step) or 0
    return 0

  def restore_same():
    if step and not group.is_chief:
      checkpoints.restore(step, last_step=last_step)

  failed = 'The checkpoint cannot be restored'
  step = group.of_chief(agreement.on_all(group, restore_newest, failed))
  agreement.on_all(group, restore_same, failed)
  check_weights(group, state)
  return step


def _events(config, options, train_size):
  """Returns when to log, evaluate and save: three plan.Every."""
  evals = plan.every_epochs(options.eval_every_epochs, config, train_size)
  if options.eval_every_steps:
    evals = plan.every_steps(options.eval_every_steps)
  return (plan.every_steps(options.log_every_steps), evals,
          plan.every_steps(options.save_every_steps))
