"""Injures training runs at random, lets them recover, and compares the ends.

  python -m tests.chaos --injuries=200 --workers=1,2,4 --seed=0

For each number of workers, one run of a small job is left undisturbed. Runs of
the same job under the same launcher are then injured repeatedly, in one of the
ways of tests/chaos/injuries.py at a moment drawn from the seed, until they are
done. They must end with the same bits in every weight and the same lines in
metrics.jsonl, and must train again within --recovery_secs of an injury. Exit
code 0 if all do, else 1; the logs of failures are kept.
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
from tests.chaos import injured_run, injuries

_SHARE_IN_START_UP = 0.3  # Of injuries; the rest come while it trains.


def parse(argv):
  """Defines and reads the flags; returns the other arguments."""
  flags.DEFINE_integer('injuries', 200, 'How many injuries.', lower_bound=1)
  flags.DEFINE_list('workers', ['1', '2', '4'], 'Numbers of workers, one after '
                    'the other.')
  flags.DEFINE_integer('seed', 0, 'Seed of the kinds and moments.')
  flags.DEFINE_list('kinds', list(injuries.KINDS), 'Kinds of injuries to draw '
                    'from.')
  flags.DEFINE_float('recovery_secs', 60, 'Seconds within which a run must '
                     'train again or be done.', lower_bound=1)
  return command_line.parse_flags(argv)


def main(others):
  """Runs it; returns the exit code."""
  command_line.refuse(others)
  values = flags.FLAGS
  unknown = set(values.kinds) - set(injuries.KINDS)
  if unknown:
    raise UserError(f'--kinds={",".join(sorted(unknown))} does not exist: '
                    f'choose from {", ".join(injuries.KINDS)}.')
  folder = pathlib.Path(tempfile.mkdtemp(prefix='chaos-'))
  outcomes = []
  with injured_run.small_disk(folder / 'disk') as disk:
    kinds = [kind for kind in values.kinds
             if disk.is_small or kind not in injuries.OF_SMALL_DISK]
    if kinds != values.kinds:
      command_line.warn(f'{", ".join(injuries.OF_SMALL_DISK)} are left out: '
                        'only root can mount a small disk.')
    parts = _parts(values.injuries, len(values.workers))
    in_turn = _in_turn(kinds, random.Random(values.seed))
    for workers, count in zip(map(int, values.workers), parts):
      rng = random.Random(f'{values.seed}/{workers}')
      outcomes += _injure(folder, disk, workers, count, in_turn, rng,
                          values.recovery_secs)
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
  """Injures runs of some workers `count` times; returns the Outcomes."""
  peace = injured_run.Run(folder / f'peace-{workers}', disk, workers)
  started = time.monotonic()
  peace.start()
  peace.wait(600)
  expected, secs = peace.result(), peace.training_secs()
  print(f'{workers} workers: undisturbed run, '
        f'{time.monotonic() - started:.0f} s', flush=True)
  peace.clear()
  outcomes, runs = [], 0
  while len(outcomes) < count:
    run = injured_run.Run(folder / f'run-{workers}-{runs}', disk, workers)
    runs += 1
    mine = _injure_run(run, count - len(outcomes), kinds, rng, secs,
                       recovery_secs)
    if not any(one.wrong for one in mine) and not run.ends_like(expected):
      mine[-1:] = [one._replace(wrong='the run ended with other weights or '
                                'metrics') for one in mine[-1:]]
    outcomes += mine
    run.clear()
  return outcomes


def _in_turn(kinds, rng):
  """Yields all kinds again and again, each time in another order."""
  while True:
    yield from rng.sample(kinds, len(kinds))


def _injure_run(run, most, kinds, rng, training_secs, recovery_secs):
  """Injures one run until it is done; returns the Outcomes."""
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
  """Returns the counts by kind and workers, and the seconds to recover."""
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
