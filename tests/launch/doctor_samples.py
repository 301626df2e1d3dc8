"""Reports of ranks that found nothing wrong, for tests to change."""
from launch.doctor import reports
from launch.doctor.reports import Finding, Report

SURVEY = {
    'strategy': 'multi_worker_mirrored', 'flags': {'jit': 'auto'},
    'config': {'seed': '0', 'train_steps': '9'}, 'global_batch': 48,
    'workdir': '/runs/a', 'code': '0123456789ab',
    'versions': {'python': '3.11.7', 'tensorflow': '2.21.0', 'keras': '3.15.1'},
    'devices': ['CPU'],
    'data': {'name': 'digits', 'train': 1437, 'eval': 360, 'digest': 'd1' * 8},
    'problems': []}
ADDRESSES = ('a:1', 'b:2', 'c:3', 'd:4')


def report(rank, unreached=(), problems=(), **fields):
  """Returns the report of a rank; fields are those of it or of its survey.

  Args:
    rank: its number.
    unreached: {rank: words}, of the kind OTHER, or a Finding.
    problems: sentences, of the kind OTHER, or Findings.
    **fields: values that differ from those of a rank without problems.
  """
  own = {name: fields.pop(name) for name in list(fields) if name in SURVEY
         and name not in ('workdir', 'problems')}
  workdir = reports.SHARED if rank else reports.WRITABLE
  return Report(rank, f'node{rank}', f'p{rank}', **{
      'final': True, 'survey': {**SURVEY, **own}, 'workdir': workdir,
      'unreached': {whom: finding(why)
                    for whom, why in dict(unreached).items()},
      'problems': tuple(map(finding, problems)), **fields})


def finding(text, kind=reports.OTHER):
  """Returns a Finding; one that is a Finding already stays as it is."""
  return text if isinstance(text, Finding) else Finding(kind, text)
