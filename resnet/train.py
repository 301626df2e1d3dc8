"""Trains a network.

  python -m resnet.train                        # Digits, in less than a minute.
  python -m resnet.train --config=cifar10_resnet20 --data_dir=DIR \\
      --config.schedule.peak=0.2 --workdir=RUN

Rerun the same command to continue where a run stopped. Exit codes: 0 done; 2 a
user error, in one sentence; 143 stopped by a signal or --max_mins, and saved:
rerun the same command; anything else is a failure.
"""
import math
import sys
import time

from absl import flags

from configs.process import (
  command_line,
  progress,
  streams,
  tensorflow_process,
  xla_autotuning,
)
from configs.process.errors import UserError
from launch.cluster import cluster_flags, contract
from resnet.distribution import heartbeats, stop_signals
from resnet.execution import execution_flags, training_flags
from resnet.run.loggers import packages
from resnet.run.screen import first_words, terminal

parse = training_flags.parse


def main(parsed) -> int:
  """Runs the trainer; returns its exit code."""
  config, recipe, others = parsed
  command_line.refuse(others)
  stop_signals.end_at_once()
  streams.may_be_lost()  # What counts is in the run folder.
  workdir = training_flags.workdir(recipe)
  if not _rank():
    packages.check(flags.FLAGS.log_to)
    first_words.say(recipe, workdir)
  if flags.FLAGS.deterministic:
    xla_autotuning.keep(workdir / heartbeats.FOLDER / f'{_rank()}.autotuning')
  with tensorflow_process.starting():
    from resnet import loop, session
    from resnet.distribution import workers
    from resnet.run import run_folder
    from resnet.run.screen import closing

  progress.watch(workdir)
  if flags.FLAGS.strategy == contract.MULTI_WORKER:
    # A worker that is restarted after the others are done must not wait for
    # them.
    summary = run_folder.finished(workdir, config)
    if summary:
      session.check_finished(config, workdir, training_flags.options())
      print(closing.finished_text(summary, workdir,
                                  terminal.has_colors(sys.stdout)))
      return command_line.DONE
  end = time.monotonic() + 60 * (flags.FLAGS.max_mins or math.inf)

  first_step = None

  def stop_requested(step):
    nonlocal first_step
    if first_step is None:
      first_step = step
    elif step > first_step and not stop_signals.are_noted():
      stop_signals.install()
    return stop_signals.requested() or time.monotonic() > end

  def train(strategy):
    stop_signals.end_at_once()
    return loop.train_and_evaluate(
        config, strategy, workdir, training_flags.options(),
        stop_requested=stop_requested)

  return workers.run(
      lambda: execution_flags.make_strategy(workers_allowed=True), train)


def _rank() -> int:
  """Returns the rank of this worker; 0 if it is not known."""
  if flags.FLAGS.strategy != contract.MULTI_WORKER:
    return 0
  try:
    return cluster_flags.get().rank
  except UserError:  # Raised again when the workers join.
    return 0


def run() -> None:
  """Runs the installed command."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
