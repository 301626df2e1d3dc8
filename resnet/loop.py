"""The training loop, from a config to a finished run folder.

Build, restore, then until the last step: run some steps, log, evaluate, save.
Each of these happens at steps that follow from the config and the flags alone,
in this order, so that a run that is killed and started again does the same
things at the same steps as one that never stopped.
"""
import functools
import math
import os
import time
from typing import NamedTuple

from configs import schema
from configs.process.command_line import DONE, START_AGAIN
from configs.process.errors import UserError
from pipelines import sources
from resnet.run import checkpoint
from resnet.distribution import heartbeats
from resnet import network
from resnet import plan
from resnet.run import progress
from resnet.run import report
from resnet.run import run_folder
from resnet import state as state_lib
from resnet.run import stopwatch
from resnet.run import summaries
from resnet import trainer
from resnet.distribution import workers


class Options(NamedTuple):
  """How a run executes; none of it changes what is trained."""
  reading: sources.Reading = sources.Reading()
  jit: str = 'auto'
  log_every_steps: int = 100
  eval_every_epochs: float = 1.0
  eval_every_steps: int = 0  # If not 0, counts instead of epochs.
  save_every_secs: float = 300.0
  save_every_steps: int = 0
  keep_last: int = 3
  keep_best: int = 1
  steps_per_call: int = 0  # 0: about a second's worth.
  stall_seconds: float = 300.0  # Then stacks are shown; 0: never.
  log_positions: bool = False  # Whether log points tell which were drawn.


def train_and_evaluate(config, strategy, workdir, options,
                       stop_requested=lambda step: None):
  """Trains to the last step of the config, going on from what is in workdir.

  Args:
    config: a checked schema.Config.
    strategy: a tf.distribute strategy, see strategy.make.
    workdir: path of the run folder, made if it does not exist.
    options: Options.
    stop_requested: asked between host calls with the number of updates done;
      true (a signal's name, say) if the run is to save and stop.

  Returns:
    DONE, or START_AGAIN if it was asked to stop.

  Raises:
    UserError: whatever the user can mend; the loss is not a number.
  """
  watch = stopwatch.Stopwatch()
  chief = workers.rank(strategy) == 0
  workers.check_same(strategy, run_folder.identity(config), 'start all of them '
                     'with the same command, code and packages')
  folder = run_folder.open_for_training(workdir, config, chief)
  if workers.of_chief(strategy, chief and bool(folder.finished)):
    if chief:
      print(report.finished_text(folder.finished, folder.path))
    return DONE
  run_folder.check_shared(folder, strategy)
  try:
    with heartbeats.Heartbeats(
        folder.path, workers.rank(strategy), workers.count(strategy),
        options.stall_seconds) as beat:
      return _train(config, strategy, folder, options, stop_requested, beat,
                    watch)
  except OSError as error:
    raise UserError(
        f'--workdir={workdir} can no longer be written ({error.strerror}): '
        'free space or mend permissions there and give the same command again.'
    ) from error


def _train(config, strategy, folder, options, stop_requested, beat, watch):
  """Trains in an open run folder; see train_and_evaluate."""
  chief = workers.rank(strategy) == 0

  # Build, and go on from the newest checkpoint.
  with watch.activity('start_up'):
    open_split = functools.partial(
        sources.load, config.data.name, reading=options.reading,
        image_size=config.data.image_size)
    train_source = open_split(config.data.train_split)
    eval_source = open_split(config.data.eval_split)
    total_steps = plan.total_steps(config, train_source.size)
    model, state = network.build(config, strategy, train_source)
    checkpoints = checkpoint.Checkpoints(
        folder.checkpoints, state.paths, options.keep_last)
    step = first_step = _restore(checkpoints, strategy, state)
    train = trainer.Train(config, strategy, model, state, train_source,
                          jit=options.jit, first_step=step,
                          digest_positions=options.log_positions)
    evaluate = trainer.Evaluate(config, strategy, model, state, eval_source,
                                jit=options.jit)
    replicas, replicas_before = report.replicas(strategy), folder.replicas
    if chief:
      folder.describe(config, replicas)
    written = summaries.Summaries(folder.path, step, chief=chief)
    if chief and not step:
      written.write_text('config', report.config_text(config))
      written.write_settings(schema.plain_fields(config))
  bar = progress.Progress(
      total_steps, step, None if chief else open(os.devnull, 'w'))
  bar.say(report.start_text(config, replicas, step, total_steps, folder.path))
  if step and replicas != replicas_before:
    bar.say(report.moved_text(replicas_before, replicas))
  logs, evals, saves = _events(config, options, train_source.size)
  epoch = functools.partial(
      plan.epoch, config=config, train_size=train_source.size)
  stop, saved_at, lap_step = False, time.monotonic(), step
  warned = False

  def asked(phase, step):
    beat.note(phase, step)
    return stop_requested(step)

  while True:
    last = step == total_steps

    if (logs.due(step) or last) and not written.has('train', step):
      written.write('train', step, {
          **_means(train, config, options, step - written.last_step('train')),
          **({'positions': train.digest()} if options.log_positions else {}),
          'learning_rate': train.learning_rate(step - 1), 'epoch': epoch(step),
          **_speed(config, watch.lap(), step - lap_step)})
      train.reset_means()
      lap_step = step
      warning = report.input_wait_text(written.of('train'))
      if warning and not warned:
        bar.say(warning)
        warned = True

    new_best = False
    if (evals.due(step) or last) and not written.has('eval', step) and not stop:
      with watch.activity('evaluation'):
        _check_weights(strategy, state)
        values = evaluate(functools.partial(asked, 'evaluation', step))
      stop = values is None
      if values:
        written.write('eval', step, {**values, 'epoch': epoch(step)})
        bar.say(f'step {step}  evaluation: {report.values_text(values)}')
        new_best = step in _best_steps(written, options)

    timed = 0 < options.save_every_secs <= time.monotonic() - saved_at
    if chief and (saves.due(step) or timed or new_best or last or stop
                 ) and step > first_step and step not in checkpoints.steps():
      beat.note('checkpoint', step)
      with watch.activity('checkpoints'):
        if not train.is_finite():
          raise _not_finite('a weight', step, checkpoints)
        checkpoints.save(step, _best_steps(written, options))
      saved_at = time.monotonic()

    # One of several workers takes a step even then: the others must know.
    alone = workers.count(strategy) == 1
    if last or stop or (
        alone and step == first_step and asked('training', step)):
      break
    boundary = min(total_steps, logs.after(step), evals.after(step),
                   saves.after(step))
    most = min(options.steps_per_call or train.steps_per_call, boundary - step)
    call = train(step, most, asked('training', step))
    if not math.isfinite(call.loss):
      raise _not_finite('the loss', call.step, checkpoints)
    if step == first_step:  # Tracing and compiling is no one's speed.
      watch.add('start_up', call.seconds)
      lap_step = call.step
    else:
      watch.add('input_wait', call.input_secs)
    step, stop = call.step, call.stop
    state.step.assign(step)
    bar.show(step, epoch=epoch(step), loss=call.loss, accuracy=call.accuracy,
             images_per_second=call.images / call.seconds)

  beat.note('checkpoint', step)
  with watch.activity('checkpoints'):
    checkpoints.wait()
  if last and not stop:
    written.write_success(step)
  written.close()
  bar.close()
  if stop or not last:
    bar.say(report.stop_text(step, folder.path))
    return START_AGAIN
  if chief:
    summary = report.summary(written, watch)
    folder.finish(summary)
    print(report.summary_text(summary, folder.path))
  # A worker that has ended with 0 may not be started again: it stays until the
  # chief no longer needs it.
  workers.of_chief(strategy, 0)
  return DONE


def _restore(checkpoints, strategy, state):
  """Restores the newest checkpoint the chief can read, on all workers.

  Returns:
    Its step; 0 if there is none.
  """
  chief, step = workers.rank(strategy) == 0, 0
  if chief:
    checkpoints.sweep()
    step = checkpoints.restore() or 0
  step = workers.of_chief(strategy, step)
  if step and not chief:
    checkpoints.restore(step, set_aside=False)
  _check_weights(strategy, state)
  return step


def _check_weights(strategy, state):
  """Raises workers.Disagreement if replicas have drifted apart.

  Copies all weights to the host, and waits for the devices.
  """
  if strategy.num_replicas_in_sync > 1:
    workers.check_same(
        strategy, {'other weights': state_lib.contents(state)}, 'no step makes '
        'them differ, so look for a fault of that machine; the same command '
        'goes on from the last checkpoint')


def _events(config, options, train_size):
  """When to log, evaluate and save: three plan.Every."""
  evals = plan.every_epochs(options.eval_every_epochs, config, train_size)
  if options.eval_every_steps:
    evals = plan.every_steps(options.eval_every_steps)
  return (plan.every_steps(options.log_every_steps), evals,
          plan.every_steps(options.save_every_steps))


def _means(train, config, options, steps):
  """Means over the last `steps` updates, and how many images had no part."""
  means = train.means()
  skipped = steps * config.global_batch - means.pop('images')
  if options.reading.skip_bad_images:
    means['skipped_images'] = skipped
  return means


def _speed(config, lap, steps):
  """What a lap of `steps` updates says of speed; nothing if it has none."""
  seconds, waited = lap
  if not steps:
    return {}
  return {'images_per_second': steps * config.global_batch / seconds,
          'step_milliseconds': 1000 * seconds / steps,
          'input_wait_fraction': waited / seconds}


def _best_steps(written, options):
  best = summaries.best(written.of('eval'), options.keep_best)
  return [record['step'] for record in best]


def _not_finite(what, step, checkpoints):
  checkpoints.wait()
  kept = checkpoints.steps()
  where = (f'the last good checkpoint, of step {kept[-1]}, is kept'
           if kept else 'there is no checkpoint yet')
  return UserError(
      f'After step {step} {what} is not a finite number; {where}: lower '
      'config.schedule.peak or lengthen config.schedule.warmup_epochs, in '
      'another --workdir.')
