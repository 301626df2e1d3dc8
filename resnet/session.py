"""A run in progress: everything that the functions of the loop share.

  run = start(config, group, folder, options, beat, watch, stop_requested)
"""
from collections.abc import Callable
import dataclasses
import os
import time

from configs import schema
from pipelines import sources
from resnet import evaluator, network, plan, trainer
from resnet import state as state_lib
from resnet.distribution.group import Group
from resnet.distribution.heartbeats import Heartbeats
from resnet.execution.options import Options
from resnet.run import checkpoint, progress, report, summaries
from resnet.run.run_folder import RunFolder
from resnet.run.stopwatch import Stopwatch


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

  train: trainer.Train
  evaluate: evaluator.Evaluate
  state: state_lib.State
  checkpoints: checkpoint.Checkpoints
  written: summaries.Summaries
  bar: progress.Progress

  first_step: int  # Updates done before this process.
  step: int  # Updates done.
  lap_step: int  # Where the speed of the next log point is counted from.
  saved_at: float  # When the last checkpoint was begun, on the monotonic clock.
  stop: bool = False  # Whether some process was asked to stop.
  new_best: bool = False  # Whether the evaluation of this step is a best one.
  warned_of_input: bool = False

  @property
  def is_last(self) -> bool:
    """Whether all updates are done."""
    return self.step == self.total_steps

  def epoch(self, step: int) -> float:
    """Returns the passes over the training split after `step` updates."""
    return plan.epoch(step, self.config, self.train_size)

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
    train_source, eval_source = (
        sources.load(config.data.name, split, options.reading,
                     config.data.image_size)
        for split in (config.data.train_split, config.data.eval_split))
    model, state = network.build(config, group.strategy, train_source)
    checkpoints = checkpoint.Checkpoints(
        folder.checkpoints, state.paths, options.keep_last)
    step = _restore(checkpoints, group, state)
    train = trainer.Train(
        config, group.strategy, model, state, train_source, jit=options.jit,
        first_step=step, digest_positions=options.log_positions)
    evaluate = evaluator.Evaluate(
        config, group.strategy, model, state, eval_source, jit=options.jit)
    logs, evals, saves = _events(config, options, train_source.size)
    run = Session(
        config=config, options=options, group=group, folder=folder, beat=beat,
        watch=watch, stop_requested=stop_requested,
        train_size=train_source.size,
        total_steps=plan.total_steps(config, train_source.size),
        logs=logs, evals=evals, saves=saves, train=train, evaluate=evaluate,
        state=state, checkpoints=checkpoints,
        written=summaries.Summaries(folder.path, step, chief=group.is_chief),
        bar=progress.Progress(
            plan.total_steps(config, train_source.size), step,
            None if group.is_chief else open(os.devnull, 'w')),
        first_step=step, step=step, lap_step=step, saved_at=time.monotonic())
    _describe(run)
  return run


def check_weights(group: Group, state: state_lib.State) -> None:
  """Checks that no replica has drifted from the others.

  Copies all weights to the host, and waits for the devices.

  Raises:
    group.Disagreement: some have; names their workers.
  """
  if group.strategy.num_replicas_in_sync > 1:
    group.check_same(
        {'weights': state_lib.contents(state)}, 'no training step can do that, '
        'so check that machine for hardware faults; rerun the same command to '
        'continue from the last checkpoint')


def _restore(checkpoints, group, state):
  """Restores the newest checkpoint that the chief can read, on all workers.

  Returns:
    Its step; 0 if there is none.
  """
  step = 0
  if group.is_chief:
    checkpoints.sweep()
    step = checkpoints.restore() or 0
  step = group.of_chief(step)
  if step and not group.is_chief:
    checkpoints.restore(step, set_aside=False)
  check_weights(group, state)
  return step


def _events(config, options, train_size):
  """Returns when to log, evaluate and save: three plan.Every."""
  evals = plan.every_epochs(options.eval_every_epochs, config, train_size)
  if options.eval_every_steps:
    evals = plan.every_steps(options.eval_every_steps)
  return (plan.every_steps(options.log_every_steps), evals,
          plan.every_steps(options.save_every_steps))


def _describe(run):
  """Says what the run is: in its folder, in TensorBoard and on the screen."""
  replicas, before = report.replicas(run.group), run.folder.replicas
  if run.group.is_chief:
    run.folder.describe(run.config, replicas)
    if not run.step:
      run.written.write_text('config', report.config_text(run.config))
      run.written.write_settings(schema.plain_fields(run.config))
  run.bar.say(report.start_text(
      run.config, replicas, run.step, run.total_steps, run.folder.path))
  if run.step and replicas != before:
    run.bar.say(report.moved_text(before, replicas))
