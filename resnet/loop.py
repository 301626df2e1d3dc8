"""The training loop, from a config to a finished run folder.

Build, restore, then until the last step: log, evaluate, save, train some steps.
Each of these happens at steps that follow from the config and the flags alone,
in this order, so that a run that is killed and restarted does the same things
at the same steps as one that was never stopped.
"""
from collections.abc import Callable
import os
import sys
import time

import tensorflow as tf

from configs import schema
from configs.process.command_line import DONE, START_AGAIN
from configs.process.errors import UserError
from resnet import recovery, session
from resnet.distribution import heartbeats, stop_signals
from resnet.distribution.group import Group
from resnet.execution.options import Options
from resnet.run import run_folder, shared_folder, software, summaries
from resnet.run.events import histograms, pictures
from resnet.run.loggers.service import End
from resnet.run.measures import log_point, stopwatch
from resnet.run.screen import closing, report, terminal


def train_and_evaluate(
    config: schema.Config, strategy: tf.distribute.Strategy,
    workdir: str | os.PathLike, options: Options,
    stop_requested: Callable[[int], object] = lambda step: None) -> int:
  """Trains to the last step of the config, from what is in workdir.

  Args:
    config: what is trained, checked.
    strategy: the devices, see strategy.make and workers.join.
    workdir: path of the run folder; created if it does not exist.
    options: how the run executes.
    stop_requested: called between host calls with the number of updates done;
      returns true (a signal's name, say) if the run is to save and stop.

  Returns:
    DONE, or START_AGAIN if it was asked to stop.

  Raises:
    UserError: the user can fix it, or the loss is not a number.
  """
  watch = stopwatch.Stopwatch()
  group = Group.of(strategy)
  group.check_same(software.identity(config), 'start all workers with the '
                   'same command, code and packages')
  with run_folder.open_for_training(
      workdir, config, group.is_chief, options.extend) as folder:
    return _train_in(folder, config, group, options, watch, stop_requested)


def _train_in(folder, config, group, options, watch, stop_requested):
  """Trains in an open run folder; returns the exit code."""
  summary = folder.finished if group.is_chief else None
  if group.of_chief(bool(summary)):
    if summary:
      data = session.check_finished(config, folder.path, options)
      if data:
        folder.record_data(data)
      print(closing.finished_text(summary, folder.path,
                                  terminal.has_colors(sys.stdout)))
    return DONE
  shared_folder.check(folder.path, group)
  with heartbeats.Heartbeats(folder.path, group.rank, group.count,
                             options.stall_secs) as beat:
    run = session.start(
        config, group, folder, options, beat, watch, stop_requested)
    with run.checkpoints, run.profile, run.bar, run.loggers:
      return _train(run)


def _train(run):
  """Trains a session.Session to its end; returns the exit code."""
  while True:
    _log(run)
    histograms.write(run)
    _evaluate(run)
    _save(run)
    # A run that is alone can stop before its first step. One of several workers
    # makes a call even then: the others must learn of it.
    if run.is_last or run.stop or (
        run.group.is_alone and run.step == run.first_step
        and run.asked_to_stop('training')):
      return _finish(run)
    _advance(run)


def _log(run):
  """Writes the means since the last log point, if one is due."""
  step = run.step
  # If the line of the step that a run is resumed at is lost, so are its sums.
  if (not (run.logs.due(step) or run.is_last) or run.written.has('train', step)
      or step == run.first_step):
    return
  values, first = run.train.means(), run.written.last_step('train')
  if not values['images']:
    raise run.train.all_bad(first, step)
  if recovery.jumped(run, values['loss']) and recovery.go_back(
      run, f'the loss has jumped to {values["loss"]:.4g}', step):
    return
  run.written.write('train', step, log_point.figures(run, values, first))
  run.train.reset_means()
  warning = report.input_wait_text(run.written.of('train'))
  if warning and not run.warned_of_input:
    run.bar.say(warning, 'yellow')
    run.warned_of_input = True


def _evaluate(run):
  """Evaluates, if it is due; notes whether the result is among the best."""
  step, run.new_best = run.step, False
  due = run.evals.due(step) or run.is_last
  if not due or run.stop or run.written.has('eval', step):
    return
  run.profile.pause(run)
  with run.watch.activity('evaluation'), run.bar.phase('evaluating'):
    session.check_weights(run.group, run.state)
    values = run.evaluate(lambda: run.asked_to_stop('evaluation'))
  if values is None:
    run.stop = True
    return
  run.watch_metric(values)
  run.written.write('eval', step, {**values, 'epoch': run.epoch(step)})
  run.written.write_best(step, run.config.monitor.metric)
  with run.watch.activity('evaluation'):
    pictures.write_evaluated(run)
  run.bar.say(report.evaluation_text(step, values), 'bold')
  run.new_best = step in _best_steps(run)


def _save(run):
  """Starts to write a checkpoint, if one is due."""
  secs = run.options.save_every_secs
  timed = 0 < secs <= time.monotonic() - run.saved_at
  due = (run.saves.due(run.step) or timed or run.new_best or run.is_last
         or run.stop)
  if not run.group.is_chief or not due or run.step == run.first_step:
    return
  run.beat.note('checkpoint', run.step)
  run.profile.pause(run)
  run.save_began = time.monotonic()
  with run.watch.activity('checkpoints'), run.bar.phase('saving'):
    if not run.train.is_finite():
      if run.config.recovery.most and not run.is_last:
        return  # The loss of the next step breaks, on all workers.
      raise _not_finite('a weight', run.step, run.checkpoints)
    run.checkpoints.save(run.step, _steps_to_keep(run))
  run.saved_at = time.monotonic()


def _advance(run):
  """Trains up to the next step at which something is due, in one host call."""
  step = run.step
  logged = min(run.total_steps, run.logs.after(step))
  boundary = min(logged, run.evals.after(step), run.saves.after(step),
                 run.histograms.after(step), run.profile.after(run))
  most = min(run.options.steps_per_call or run.train.steps_per_call,
             boundary - step)
  stop = run.asked_to_stop('training')
  if stop and run.group.is_alone:  # Several workers make the same calls.
    most = 1
  run.profile.begin(run)
  if step == run.first_step:
    run.bar.note('compiling')
  call = run.train(step, most, stop, measured_step=logged)
  if call.broken_at is not None:
    if recovery.go_back(run, 'the loss is not finite', call.broken_at):
      run.stop = call.stop
      return
    raise _not_finite('the loss', call.broken_at, run.checkpoints)
  if step == run.first_step:  # Tracing and compiling count as start-up.
    run.watch.add('start_up', call.seconds)
    run.lap_step = call.step
  else:
    run.watch.add('input_wait', call.input_secs)
    run.step_times.add(call.step - step, call.seconds)
  run.step, run.stop = call.step, call.stop
  run.state.step.assign(run.step)
  run.profile.end(run, call.step, call.seconds)
  if call.images:  # Not all of them were skipped as bad.
    run.bar.show(run.step, epoch=run.epoch(run.step), loss=call.loss,
                 accuracy=call.accuracy,
                 images_per_second=call.images / call.seconds,
                 learning_rate=lambda: run.train.learning_rate(run.step - 1))


def _finish(run):
  """Waits until all is on disk and says how the run ended; the exit code."""
  stopped = run.stop or not run.is_last
  run.beat.note('checkpoint', run.step)
  with run.watch.activity('checkpoints'):
    run.checkpoints.wait()
  if not stopped:
    run.written.write_success(run.step)
  run.written.close()
  run.bar.close()
  run.profile.end_run(run, stopped)
  if stopped:
    run.bar.say(_stop_text(run))
    run.loggers.close(End.STOPPED)
    return START_AGAIN
  if run.group.is_chief:
    summary = report.summary(
        run.written, run.watch, run.config.monitor.metric)
    run.loggers.close(End.FINISHED)  # Waits: after the time was summed up.
    run.folder.finish(summary)
    print(closing.summary_text(summary, run.folder.path,
                               terminal.has_colors(sys.stdout)))
  # A worker that has ended with 0 may not be restarted: it stays until the
  # chief no longer needs it.
  run.group.of_chief(0)
  return DONE


def _stop_text(run):
  """Returns the last line of a run that was asked to stop."""
  secs = (time.monotonic() - run.save_began
          if run.step > run.first_step else None)
  save = run.group.is_chief and closing.newest(
      run.folder.checkpoints, run.checkpoints.steps(), secs)
  return closing.stop_text(
      run.step, save or None, stop_signals.requested(),
      stop_signals.seconds_since())


def _steps_to_keep(run):
  if run.config.recovery.most:
    return [*_best_steps(run), *recovery.steps_to_keep(run)]
  return _best_steps(run)


def _best_steps(run):
  best = summaries.best(run.written.of('eval'), run.options.keep_best,
                        run.config.monitor.metric)
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
