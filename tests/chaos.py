"""Injures training runs at random, lets them come back, compares the ends.

  python -m tests.chaos --injuries=200 --workers=1,2,4 --seed=0

For each number of workers one run of a small job is left in peace. Runs of the
same job under the same launcher are then injured again and again, each time in
one of the ways of tests/injuries.py at a moment drawn from the seed, until
they are done: they must end with the same bits in every weight and the same
lines in metrics.jsonl, and no longer than --recovery_seconds after an injury
train again. Exit code 0 if all do, 1 if not; what went wrong is kept.
"""
import collections
import pathlib
import random
import shutil
import statistics
import tempfile
import time

from absl import flags

from configs.process import command_line
from configs.process.errors import UserError
from tests import injured_run, injuries

_SHARE_IN_START_UP = 0.3  # Of injuries; the rest come while it trains.


def parse(argv):
  """Defines and reads the flags; returns the other arguments."""
  flags.DEFINE_integer('injuries', 200, 'How many.', lower_bound=1)
  flags.DEFINE_list('workers', ['1', '2', '4'], 'Numbers of workers, in turn.')
  flags.DEFINE_integer('seed', 0, 'Of kinds and moments.')
  flags.DEFINE_list('kinds', list(injuries.KINDS), 'Kinds of injuries.')
  flags.DEFINE_float('recovery_seconds', 60, 'Within which a run must train '
                     'again, or be done.', lower_bound=1)
  return command_line.parse_flags(argv)


def main(others):
  """Runs it; returns the exit code."""
  command_line.refuse(others)
  values = flags.FLAGS
  unknown = set(values.kinds) - set(injuries.KINDS)
  if unknown:
    raise UserError(f'--kinds={",".join(sorted(unknown))} does not exist: '
                    f'choose among {", ".join(injuries.KINDS)}.')
  folder = pathlib.Path(tempfile.mkdtemp(prefix='chaos-'))
  outcomes = []
  with injured_run.small_disk(folder / 'disk') as disk:
    kinds = [k for k in values.kinds if disk.is_small or k != 'fill_disk']
    if kinds != values.kinds:
      command_line.warn('fill_disk is left out: only root can mount a small '
                        'disk for it.')
    parts = _parts(values.injuries, len(values.workers))
    for workers, count in zip(map(int, values.workers), parts):
      rng = random.Random(f'{values.seed}/{workers}')
      outcomes += _injure(folder, disk, workers, count, kinds, rng,
                          values.recovery_seconds)
  print(_table(outcomes))
  wrong = [outcome for outcome in outcomes if outcome.wrong]
  for outcome in wrong:
    print(f'WRONG: {outcome}')
  if wrong:
    print(f'The logs are in {folder}.')
    return 1
  shutil.rmtree(folder)
  return command_line.DONE


def _parts(total, count):
  return [total * (i + 1) // count - total * i // count for i in range(count)]


def _injure(folder, disk, workers, count, kinds, rng, recovery_secs):
  """Injures runs of so many workers `count` times; list of Outcomes."""
  peace = injured_run.Run(folder / f'peace-{workers}', disk, workers)
  started = time.monotonic()
  peace.start()
  peace.wait(600)
  expected, secs = peace.result(), peace.training_secs()
  print(f'{workers} workers: left in peace, {time.monotonic() - started:.0f} s',
        flush=True)
  peace.clear()
  kinds = _in_turn(kinds, rng)
  outcomes, runs = [], 0
  while len(outcomes) < count:
    run = injured_run.Run(folder / f'run-{workers}-{runs}', disk, workers)
    runs += 1
    mine = _injure_run(run, count - len(outcomes), kinds, rng, secs,
                       recovery_secs)
    if not any(one.wrong for one in mine) and run.result() != expected:
      mine[-1:] = [one._replace(wrong='the run ended with other weights or '
                                'metrics') for one in mine[-1:]]
    outcomes += mine
    run.clear()
  return outcomes


def _in_turn(kinds, rng):
  """All kinds again and again, each time in another order."""
  while True:
    yield from rng.sample(kinds, len(kinds))


def _injure_run(run, most, kinds, rng, training_secs, recovery_secs):
  """Injures one run until it is done; list of Outcomes."""
  outcomes = []
  run.start()
  try:
    while not run.done:
      if len(outcomes) == most:
        run.wait(600)
        break
      if rng.random() > _SHARE_IN_START_UP:
        run.wait_until_training(600)
      run.wait(rng.uniform(0, training_secs), may_last=True)
      if run.done:
        break
      outcome = injuries.injure(next(kinds), run, rng, recovery_secs)
      print(f'{len(outcomes) + 1} {outcome}', flush=True)
      outcomes.append(outcome)
      if outcome.wrong:
        break
  finally:
    run.end()
  return outcomes


def _table(outcomes):
  """Kinds by workers: how many, and the seconds until it trained again."""
  groups = collections.defaultdict(list)
  for one in outcomes:
    groups[one.kind, one.workers].append(one)
  rows = ['injury                workers  count  same end  named   seconds '
          'until it trains: median, most']
  for (kind, workers), group in sorted(groups.items()):
    secs = [one.recovery_secs for one in group]
    fine = sum(not one.wrong for one in group)
    lost = [one for one in group if one.named is not None]
    named = f'{sum(one.named for one in lost)}/{len(lost)}' if lost else '-'
    rows.append(f'{kind:20} {workers:8} {len(group):6} {fine:9}  {named:>5}  '
                f'{statistics.median(secs):10.1f} {max(secs):10.1f}')
  wrong = sum(bool(one.wrong) for one in outcomes)
  rows.append(f'{len(outcomes)} injuries, {wrong} wrong')
  return '\n'.join(rows)


if __name__ == '__main__':
  command_line.run(main, parse)
