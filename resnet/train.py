"""Trains a network: `python -m resnet.train --config=cifar10_resnet20`.

Started again with the same command, it goes on where it was. Exit codes: 0
done; 2 an error of the user's, in one sentence; 143 stopped by a signal or
--max_minutes, saved: the same command goes on.
"""
import math
import time

from absl import flags

from configs.process import command_line
from resnet import execution_flags
from resnet import loop
from resnet.run import report
from resnet.run import run_folder
from resnet.distribution import stop_signals
from resnet.distribution import strategy as strategy_lib
from resnet import training_flags
from resnet.distribution import workers

parse = training_flags.parse


def main(parsed):
  """Runs the trainer; returns its exit code."""
  config, recipe, others = parsed
  command_line.refuse(others)
  workdir = training_flags.workdir(recipe)
  if flags.FLAGS.strategy == strategy_lib.MULTI_WORKER:
    # Whoever is started again after the others are done would wait for them.
    summary = run_folder.finished(workdir, config)
    if summary:
      print(report.finished_text(summary, workdir))
      return command_line.DONE
  end = time.monotonic() + 60 * (flags.FLAGS.max_minutes or math.inf)

  def stop_requested(_):
    return stop_signals.requested() or time.monotonic() > end

  def train(strategy):
    stop_signals.install()  # Not before: joining the others does not heed it.
    return loop.train_and_evaluate(
        config, strategy, workdir, training_flags.options(),
        stop_requested=stop_requested)

  return workers.run(
      lambda: execution_flags.make_strategy(workers_allowed=True), train)


def run():
  """What the installed command calls."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
