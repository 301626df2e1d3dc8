"""What is wrong with a cluster, in sentences, from the reports of its ranks.

  for problem in problems(addresses, {report.rank: report, ...}):
    print(problem.sentence)

Where ranks should be alike, what most of them have counts as right; of two
ranks, what the chief has.
"""
import collections
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from launch.cluster import contract
from launch.doctor import reports
from launch.doctor.reports import Finding, Report

_NO_SURVEY = Finding(
    reports.OTHER, 'it did not report its devices and its data set: look at '
    'its log.')  # Only a stranger says nothing and gives no reason.


class Problem(NamedTuple):
  """One sentence: which ranks, what was found, and what to do."""
  sentence: str
  fatal: bool = True  # The job could not run, or not as intended.


def problems(addresses: Sequence[str | None],
             found: Mapping[int, Report]) -> list[Problem]:
  """Returns what is wrong; empty if all is well.

  Args:
    addresses: 'host:port' of each worker in rank order; (None,) for a process
      without a cluster.
    found: {rank: report} of the ranks that have reported, among them the chief,
      which asks.
  """
  ranks = _Ranks(addresses, found)
  return [*_absent(ranks), *_out_of_reach(ranks), *_own(ranks),
          *_workdirs(ranks), *_strategy(ranks), *_different(ranks),
          *_devices(ranks), *_batch(ranks)]


def no_verdict(addresses: Sequence[str], own: Report, chief: Report | None,
               why: Finding) -> str:
  """Returns the sentence of a rank that the chief has told no verdict.

  Args:
    addresses: 'host:port' of each worker in rank order.
    own: the report of this rank.
    chief: that of the chief; None if it was never heard of.
    why: the reason why the chief could not be called.
  """
  ranks = _Ranks(addresses, {0: chief} if chief else {})
  if why.kind == reports.OTHER_CLUSTER:
    return _other_addresses(ranks, 0, own.rank)
  what = ('answered at first and then fell silent' if chief else
          f'never answered ({reports.printable(why.text)})')
  return (f'{_upper(ranks.name(0))} {what}, so worker {own.rank} has no '
          'verdict: look at the log of worker 0, and check its address.')


class _Ranks:
  """The reports, and the names of the ranks."""

  def __init__(self, addresses: Sequence[str | None],
               found: Mapping[int, Report]):
    self.addresses, self.found = addresses, found
    self.alone = tuple(addresses) == (None,)
    self.count = len(addresses)
    self.surveys = {rank: report.survey for rank, report in found.items()
                    if report.survey}

  def name(self, rank: int) -> str:
    """Returns 'worker 1 at b:2222 (node1)'."""
    if self.alone:
      return 'this machine'
    host = (f' ({reports.printable(self.found[rank].host)})'
            if rank in self.found else '')
    return f'worker {rank} at {self.addresses[rank]}{host}'

  def names(self, ranks: Iterable[int]) -> str:
    """Returns the name of one rank, or a short text for several."""
    ranks = sorted(ranks)
    if len(ranks) == 1:
      return self.name(ranks[0])
    if len(ranks) == self.count:
      return f'all {self.count} workers'
    return f'workers {_and(map(str, ranks))}'


def _absent(ranks: _Ranks) -> Iterator[Problem]:
  """Yields the ranks that never answered, or fell silent."""
  chief = ranks.found[0]
  for rank in range(1, ranks.count):
    report, name = ranks.found.get(rank), _upper(ranks.name(rank))
    if report:
      if not report.final:
        yield Problem(f'{name} answered at first and then fell silent: look at '
                      'its log, and check that its machine is up.')
      continue
    why = chief.unreached.get(rank, Finding(reports.OTHER, 'no answer'))
    met = [other for other, one in ranks.found.items()
           if other and one.final and rank not in one.unreached]
    if why.kind == reports.OTHER_CLUSTER:
      yield Problem(_other_addresses(ranks, rank, 0))
    elif met:
      yield Problem(
          f'{name} was reached by {ranks.names(met)}, but there is no '
          f'connection in either direction between it and {ranks.name(0)} ('
          f'{reports.printable(why.text)}): open the ports between them.')
    else:
      yield Problem(
          f'{name} never answered ({reports.printable(why.text)}): start it, '
          'look at its log, and check its address.')


def _other_addresses(ranks, rank, other):
  return (f'{_upper(ranks.name(rank))} was given other addresses than worker '
          f'{other}: give all workers the same addresses in the same order.')


def _out_of_reach(ranks: _Ranks) -> Iterator[Problem]:
  """Yields the ranks that have reported but cannot be reached by others."""
  for rank, target in ranks.found.items():
    if any(one.kind == reports.PORT_CLOSED for one in target.problems):
      continue  # That is the reason, and it is reported.
    by_reason = collections.defaultdict(list)
    for other, report in ranks.found.items():
      if rank in report.unreached:
        by_reason[reports.printable(report.unreached[rank].text)].append(other)
    for reason, others in by_reason.items():
      back = [other for other in others if other in target.unreached]
      way = ('and the other direction fails too' if len(back) == len(others)
             else 'although the other direction works' if not back
             else f'and the other direction fails too for {ranks.names(back)}')
      yield Problem(
          f'{_upper(ranks.name(rank))} cannot be reached by '
          f'{ranks.names(others)} ({reason}), {way}: open its port to them, '
          'or fix its address or the name service there.')


def _own(ranks: _Ranks) -> Iterator[Problem]:
  """Yields what ranks have found on their own machines."""
  who = collections.defaultdict(list)
  for rank, report in ranks.found.items():
    survey = report.survey
    complete = survey and survey['devices'] and survey['data']
    silent = report.final and not report.problems and not complete
    for problem in [_NO_SURVEY] if silent else report.problems:
      who[reports.printable(problem.text)].append(rank)
  for sentence, those in who.items():
    yield Problem(sentence if ranks.alone
                  else f'{_upper(ranks.names(those))}: {sentence}')


def _workdirs(ranks: _Ranks) -> Iterator[Problem]:
  """Yields the ranks that do not see what the chief has written."""
  blind = [rank for rank in ranks.surveys
           if ranks.found[rank].workdir == reports.NOT_SHARED]
  if not blind or 0 not in ranks.surveys:
    return
  path = ranks.surveys[0]['workdir']
  shown = f'--workdir={reports.printable(path)}'
  for rank in blind:
    other = ranks.surveys[rank]['workdir']
    what = (f'does not see what {ranks.name(0)} writes to {shown}'
            if other == path else
            f'has --workdir={reports.printable(other)}, but {ranks.name(0)} '
            f'has {shown}')
    yield Problem(f'{_upper(ranks.name(rank))} {what}: give a folder that all '
                  'workers share.')


def _strategy(ranks: _Ranks) -> Iterator[Problem]:
  """Yields the ranks that the trainer would not make part of one cluster."""
  alone = [rank for rank, survey in ranks.surveys.items()
           if survey['strategy'] != contract.MULTI_WORKER]
  if ranks.count > 1 and alone:
    given = reports.printable(ranks.surveys[alone[0]]['strategy'])
    yield Problem(
        f'{_upper(ranks.names(alone))} would train alone, with --strategy='
        f'{given}, in a --workdir that all share: give --strategy='
        f'{contract.MULTI_WORKER} to all {ranks.count} workers.')


def _different(ranks: _Ranks) -> Iterator[Problem]:
  """Yields the ranks whose versions, code, config, flags or data differ."""
  for what, values_of, remedy in (
      ('versions differ from those', lambda s: s['versions'],
       'install the same versions everywhere'),
      ('code differs from that', lambda s: {'code': s['code'][:8]},
       'start all workers from the same copy of the code'),
      ('configuration differs from that', lambda s: {
          f'config.{name}': value for name, value in s['config'].items()},
       'start all workers with the same flags'),
      ('flags differ from those', lambda s: {
          f'--{name}': value for name, value in s['flags'].items()},
       'start all workers with the same flags'),
      ('data set differs from that', lambda s: s['data'] and {
          'name': s['data']['name'], 'train': str(s['data']['train']),
          'eval': str(s['data']['eval']),
          'content': s['data']['digest'][:8]},
       'prepare it once and copy it, or give a --data_dir that all workers '
       'share')):
    values = {rank: values_of(survey)
              for rank, survey in ranks.surveys.items()}
    yield from _odd(ranks, what, {r: v for r, v in values.items() if v}, remedy)


def _odd(ranks: _Ranks, what: str, values: Mapping[int, Mapping[str, str]],
         remedy: str) -> Iterator[Problem]:
  """Yields the ranks whose values are not the most common ones.

  Args:
    ranks: all of them.
    what: differs, for the sentence: 'versions differ from those'.
    values: {rank: {name: text}}.
    remedy: what to do, the end of the sentence.
  """
  groups = collections.defaultdict(list)
  for rank, value in sorted(values.items()):
    groups[tuple(sorted(value.items()))].append(rank)
  if len(groups) < 2:
    return
  # Among equally large groups, max takes that of the lowest rank.
  usual = max(groups, key=lambda value: len(groups[value]))
  for value, those in groups.items():
    if value == usual:
      continue
    ours, theirs = dict(value), dict(usual)
    differ = [f'{name} {ours.get(name, "missing")} instead of '
              f'{theirs.get(name, "missing")}'
              for name in sorted(ours.keys() | theirs.keys())
              if ours.get(name) != theirs.get(name)]
    yield Problem(
        f'{_upper(ranks.names(those))}: {"its" if len(those) == 1 else "their"}'
        f' {what} of {ranks.names(groups[usual])} '
        f'({reports.printable("; ".join(differ), 300)}): {remedy}.')


def _devices(ranks: _Ranks) -> Iterator[Problem]:
  """Yields the ranks with other devices than most.

  TensorFlow's collectives need the same number of devices, all CPUs or all
  GPUs, on every worker.
  """
  devices = {rank: survey['devices']
             for rank, survey in ranks.surveys.items() if survey['devices']}
  counts = {rank: {'devices': f'{len(d)} {"CPU" if "CPU" in d else "GPU"}'}
            for rank, d in devices.items()}
  several = list(_odd(
      ranks, 'devices differ from those', counts, 'TensorFlow needs the same '
      'number and type on each worker, so set CUDA_VISIBLE_DEVICES, or use '
      'equal machines'))
  if several:
    yield from several
    return
  kinds = {rank: {'devices': ', '.join(d)} for rank, d in devices.items()}
  for problem in _odd(ranks, 'device models differ from those', kinds,
                      'all workers wait for the slowest one at each step'):
    yield problem._replace(fatal=False)


def _batch(ranks: _Ranks) -> Iterator[Problem]:
  """Yields a problem if all devices cannot share the global batch equally."""
  devices = [survey['devices'] for survey in ranks.surveys.values()]
  if len(devices) < ranks.count or not all(devices):
    return
  count, batch = sum(map(len, devices)), ranks.surveys[0]['global_batch']
  if len(set(map(len, devices))) > 1 or batch % count == 0:
    return
  lower = batch - batch % count
  allowed = ' or '.join(str(b) for b in (lower, lower + count) if b > 0)
  yield Problem(
      f'The value config.global_batch={batch} cannot be shared equally by the '
      f'{count} devices of {ranks.names(range(ranks.count))}: give a multiple '
      f'of {count} such as {allowed}, or use other devices.')


def _and(words):
  *most, last = words
  return f'{", ".join(most)} and {last}' if most else last


def _upper(text):
  return text[:1].upper() + text[1:]
