"""What is wrong with a cluster, in sentences, from the reports of its ranks.

  for problem in problems(addresses, {report.rank: report, ...}):
    print(problem.sentence)

Of what should be the same everywhere, what most ranks have is right, and of two
ranks what the chief has.
"""
import collections
from typing import NamedTuple

from launch.doctor import reports

_SAYS_NOTHING = 'it does not say which devices and data it has.'  # A stranger.
_STRATEGY = 'multi_worker_mirrored'


class Problem(NamedTuple):
  """One sentence: who, what was found, and what to do."""
  sentence: str
  fatal: bool = True  # The job could not run, or not as it should.


def problems(addresses, found):
  """What is wrong.

  Args:
    addresses: 'host:port' of each worker in rank order; (None,) for a process
      without a cluster.
    found: {rank: reports.Report} of those that were heard of; that of the
      chief, which asks, is there.

  Returns:
    list of Problem; empty if all is well.
  """
  ranks = _Ranks(addresses, found)
  return [*_absent(ranks), *_out_of_reach(ranks), *_own(ranks),
          *_workdirs(ranks), *_strategy(ranks), *_different(ranks),
          *_devices(ranks), *_batch(ranks)]


def no_verdict(addresses, own, chief, why):
  """The sentence of a rank to which the chief has given no verdict.

  Args:
    addresses: 'host:port' of each worker in rank order.
    own: the rank's reports.Report.
    chief: that of the chief; None if it was never heard of.
    why: the chief could not be called, in a few words.
  """
  ranks = _Ranks(addresses, {0: chief} if chief else {})
  if why == reports.OTHER_CLUSTER:
    return _other_list(ranks, 0, own.rank)
  name = ranks.name(0)
  what = ('came, and then fell silent' if chief else
          f'never came ({reports.printable(why)})')
  return (f'{_upper(name)} {what}, and worker {own.rank} has no verdict: look '
          'at the log of worker 0; is its address right?')


class _Ranks:
  """The reports, and how ranks are called."""

  def __init__(self, addresses, found):
    self.addresses, self.found = addresses, found
    self.alone = addresses == (None,)
    self.count = len(addresses)
    self.surveys = {rank: report.survey for rank, report in found.items()
                    if report.survey}

  def name(self, rank):
    """'worker 1 at b:2222 (node1)'."""
    if self.alone:
      return 'this machine'
    host = (f' ({reports.printable(self.found[rank].host)})'
            if rank in self.found else '')
    return f'worker {rank} at {self.addresses[rank]}{host}'

  def names(self, ranks):
    """Of one, or of several in short."""
    ranks = sorted(ranks)
    if len(ranks) == 1:
      return self.name(ranks[0])
    if len(ranks) == self.count:
      return f'all {self.count} workers'
    return f'workers {_and(map(str, ranks))}'


def _absent(ranks):
  """Those that never came, or fell silent."""
  chief = ranks.found[0]
  for rank in range(1, ranks.count):
    report = ranks.found.get(rank)
    if report and not report.final:
      yield Problem(f'{_upper(ranks.name(rank))} came, and then fell silent: '
                    'look at its log, and whether its machine is up.')
    elif not report and _why(chief, rank) == reports.OTHER_CLUSTER:
      yield Problem(_other_list(ranks, rank, 0))
    elif not report:
      met = [other for other, one in ranks.found.items()
             if other and one.final and rank not in one.unreached]
      if met:
        yield Problem(
            f'{_upper(ranks.name(rank))} was met by {ranks.names(met)}, but '
            f'there is no way between it and {ranks.name(0)} ('
            f'{_why(chief, rank)}): open the ports between them.')
      else:
        yield Problem(
            f'{_upper(ranks.name(rank))} never came '
            f'({_why(chief, rank)}): start it, and look at its log; is its '
            'address right?')


def _other_list(ranks, rank, other):
  return (f'{_upper(ranks.name(rank))} has another list of workers than worker '
          f'{other}: give all the same addresses in the same order.')


def _out_of_reach(ranks):
  """Those that came, and cannot be reached by others: (target, reason)."""
  for rank in ranks.found:
    by_reason = collections.defaultdict(list)
    for other, report in ranks.found.items():
      if rank in report.unreached:
        by_reason[reports.printable(report.unreached[rank])].append(other)
    if _says_port(ranks.found[rank]):
      continue  # That is why.
    for reason, others in by_reason.items():
      back = [other for other in others if other in
              ranks.found[rank].unreached]
      way = ('nor the other way round' if len(back) == len(others)
             else 'though it can be done the other way round' if not back
             else f'nor, for {ranks.names(back)}, the other way round')
      yield Problem(
          f'{_upper(ranks.name(rank))} cannot be reached by '
          f'{ranks.names(others)} ({reason}), {way}: open its port to them, '
          'or mend its address or the name service there.')


def _own(ranks):
  """What ranks have found on their own machines."""
  who = collections.defaultdict(list)
  for rank, report in ranks.found.items():
    silent = not report.problems and report.final and not (
        report.survey and report.survey['devices'] and report.survey['data'])
    for sentence in [_SAYS_NOTHING] if silent else report.problems:
      who[reports.printable(sentence)].append(rank)
  for sentence, those in who.items():
    yield Problem(sentence if ranks.alone
                  else f'{_upper(ranks.names(those))}: {sentence}')


def _workdirs(ranks):
  """Those that do not see what the chief has written."""
  blind = [rank for rank in ranks.surveys
           if ranks.found[rank].workdir == reports.NOT_SHARED]
  if not blind or 0 not in ranks.surveys:
    return
  path = ranks.surveys[0]['workdir']
  shown = reports.printable(path)
  for rank in blind:
    other = ranks.surveys[rank]['workdir']
    found = (f'does not see what {ranks.name(0)} writes to --workdir={shown}'
             if other == path else
             f'has --workdir={reports.printable(other)}, and not what '
             f'{ranks.name(0)} has, {shown}')
    yield Problem(f'{_upper(ranks.name(rank))} {found}: give a folder that all '
                  'workers share.')


def _strategy(ranks):
  """Whether the trainer would make one cluster of them."""
  alone = [rank for rank, survey in ranks.surveys.items()
           if survey['strategy'] != _STRATEGY]
  if ranks.count > 1 and alone:
    given = reports.printable(ranks.surveys[alone[0]]['strategy'])
    yield Problem(
        f'{_upper(ranks.names(alone))} would train alone, with --strategy='
        f'{given}, in the --workdir of all: give --strategy={_STRATEGY} to all '
        f'{ranks.count} of them.')


def _different(ranks):
  """Versions, code, configurations, flags and data that are not the same."""
  for what, values_of, remedy in (
      ('versions', lambda s: s['versions'], 'install the same everywhere'),
      ('code', lambda s: {'code': s['code'][:8]},
       'start all from the same copy, or update it'),
      ('configuration', lambda s: {
          f'config.{name}': value for name, value in s['config'].items()},
       'start all with the same flags'),
      ('flags', lambda s: {
          f'--{name}': value for name, value in s['flags'].items()},
       'start all with the same'),
      ('data set', lambda s: s['data'] and {
          'name': s['data']['name'], 'train': str(s['data']['train']),
          'eval': str(s['data']['eval']),
          'content': s['data']['digest'][:8]},
       'prepare it once and copy it, or give a --data_dir that all share')):
    values = {rank: values_of(survey)
              for rank, survey in ranks.surveys.items()}
    yield from _odd(ranks, what, {r: v for r, v in values.items() if v}, remedy)


def _odd(ranks, what, values, remedy):
  """Problems of ranks whose values, dicts of texts, few others have."""
  groups = collections.defaultdict(list)
  for rank, value in sorted(values.items()):
    groups[tuple(sorted(value.items()))].append(rank)
  if len(groups) < 2:
    return
  # Of equally many, max takes those of the lowest rank.
  usual = max(groups, key=lambda value: len(groups[value]))
  for value, those in groups.items():
    if value == usual:
      continue
    ours, theirs = dict(value), dict(usual)
    differ = [f'{name} {ours.get(name, "none")} where they have '
              f'{theirs.get(name, "none")}'
              for name in sorted(ours.keys() | theirs.keys())
              if ours.get(name) != theirs.get(name)]
    yield Problem(
        f'{_upper(ranks.names(those))}: other {what} than '
        f'{ranks.names(groups[usual])} '
        f'({reports.printable("; ".join(differ), 300)}): {remedy}.')


def _devices(ranks):
  """TensorFlow's sums need as many devices of one kind on each worker."""
  devices = {rank: survey['devices']
             for rank, survey in ranks.surveys.items() if survey['devices']}
  counts = {rank: {'devices': f'{len(d)} {"CPU" if "CPU" in d else "GPU"}'}
            for rank, d in devices.items()}
  several = list(_odd(ranks, 'devices', counts,
                      'TensorFlow needs as many of one kind for each worker; '
                      'set CUDA_VISIBLE_DEVICES, or take equal machines'))
  if several:
    yield from several
    return
  kinds = {rank: {'devices': ', '.join(d)} for rank, d in devices.items()}
  for problem in _odd(ranks, 'kinds of devices', kinds,
                      'all wait for the slowest at each step'):
    yield problem._replace(fatal=False)


def _batch(ranks):
  """Whether all devices share the global batch."""
  devices = [survey['devices'] for survey in ranks.surveys.values()]
  if len(devices) < ranks.count or not all(devices):
    return
  count, batch = sum(map(len, devices)), ranks.surveys[0]['global_batch']
  if len(set(map(len, devices))) > 1 or batch % count == 0:
    return
  lower = batch - batch % count
  allowed = ' or '.join(str(b) for b in (lower, lower + count) if b > 0)
  yield Problem(
      f'The config.global_batch={batch} cannot be shared by the {count} '
      f'devices of {ranks.names(range(ranks.count))}: give a multiple of '
      f'{count} such as {allowed}, or other devices.')


def _says_port(report):
  return any(sentence.startswith(reports.PORT) for sentence in report.problems)


def _why(report, rank):
  return reports.printable(report.unreached.get(rank, 'no answer'))


def _and(words):
  *most, last = words
  return f'{", ".join(most)} and {last}' if most else last


def _upper(text):
  return text[:1].upper() + text[1:]
