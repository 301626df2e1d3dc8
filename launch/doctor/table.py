"""The table that the doctor prints: one row for each rank."""
import collections
from collections.abc import Mapping, Sequence

from launch.doctor import reports

_HEAD = ('rank', 'host', 'address', 'reached by', 'devices', 'python',
         'tensorflow', 'keras', 'code', 'data set', 'workdir')
_NOTHING = '-'
_LONGEST = 40  # Characters of a cell.


def table(addresses: Sequence[str | None],
          found: Mapping[int, reports.Report]) -> list[str]:
  """Returns the lines of the table.

  Args:
    addresses: 'host:port' of each worker in rank order; (None,) for a process
      without a cluster.
    found: {rank: report} of the ranks that have reported.
  """
  rows = [_HEAD] + [_row(rank, address, found)
                    for rank, address in enumerate(addresses)]
  widths = [max(map(len, column)) for column in zip(*rows)]
  return ['  '.join(cell.ljust(width) for cell, width in zip(row, widths))
          .rstrip() for row in rows]


def conclusion(addresses: Sequence[str | None],
               found: Mapping[int, reports.Report]) -> str:
  """Returns the line that ends a table without problems."""
  surveys = [report.survey for report in found.values() if report.survey]
  devices = sum(len(survey['devices']) for survey in surveys)
  batch = surveys[0]['global_batch'] // devices
  workers = len(addresses)
  return (f'All is well: {workers} worker{"s" * (workers > 1)}, {devices} '
          f'device{"s" * (devices > 1)}, {batch} images per device and step.')


def _row(rank, address, found):
  report = found.get(rank)
  survey = report and report.survey
  cells = [str(rank), report and report.host, address,
           address and _reached_by(rank, found)]
  if survey:
    versions = survey['versions']
    cells += [survey['devices'] and _devices(survey['devices']),
              *(versions.get(n) for n in ('python', 'tensorflow', 'keras')),
              survey['code'][:8], survey['data'] and _data(survey['data'])]
  else:
    cells += [None] * 6
  cells.append(report and report.workdir)
  return [reports.printable(cell or _NOTHING, _LONGEST) for cell in cells]


def _reached_by(rank, found):
  others = {other for other in found if other != rank}
  by = {other for other in others if rank not in found[other].unreached}
  if by == others:
    return 'all' if others else ''
  return f'not {", ".join(map(str, sorted(others - by)))}'


def _devices(kinds):
  return ', '.join(f'{count} {kind}'
                   for kind, count in collections.Counter(kinds).items())


def _data(data):
  return (f'{data["name"]} {data["train"]}+{data["eval"]} '
          f'({data["digest"][:6]})')
