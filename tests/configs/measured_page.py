"""What the kept runs in configs/measured/ say, and the tables made of it.

  python -m tests.configs.measured_page    # Writes the tables again.

A table stands between the lines `<!-- measured: NAME -->` and `<!-- end -->`.
"""
from collections.abc import Callable, Iterator, Sequence
import datetime
import json
import pathlib
import re
import statistics
from typing import Any, NamedTuple

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / 'configs' / 'measured'
PAGES = (FOLDER / 'README.md',)
_TABLE = re.compile(
    r'(<!-- measured: (\w+) -->\n).*?(<!-- end -->)', re.DOTALL)
_SEED = re.compile(r'_?seed=\d+$')


class Run(NamedTuple):
  """A kept run."""
  path: pathlib.Path
  about: dict[str, Any]  # run.json.
  records: list[dict[str, Any]]  # Of metrics.jsonl.

  @property
  def group(self) -> str:
    """Its name without the seed: runs of a group differ in nothing else."""
    return _SEED.sub('', self.path.name)

  @property
  def evals(self) -> list[dict[str, Any]]:
    """The evaluations, oldest first."""
    return [r for r in self.records if r['split'] == 'eval']

  @property
  def interruptions(self) -> int:
    """How often it was stopped and continued."""
    return len(self.about['starts']) - 1

  @property
  def date(self) -> str:
    """The day on which it ended, UTC."""
    return datetime.datetime.fromtimestamp(
        self.records[-1]['time'], datetime.UTC).date().isoformat()


def runs(experiment: str) -> list[Run]:
  """Returns the runs of an experiment, by name."""
  return [Run(path, json.loads((path / 'run.json').read_text()), [
      json.loads(line)
      for line in (path / 'metrics.jsonl').read_text().splitlines()])
          for path in sorted((FOLDER / experiment).iterdir())]


def groups(experiment: str) -> dict[str, list[Run]]:
  """Returns the runs of an experiment by group."""
  found: dict[str, list[Run]] = {}
  for run in runs(experiment):
    found.setdefault(run.group, []).append(run)
  return found


def spread(values: Sequence[float], digits: int = 2) -> str:
  """Returns mean ± standard deviation of shares, in percent."""
  percent = [100 * value for value in values]
  mean = f'{statistics.mean(percent):.{digits}f}'
  if len(percent) == 1:
    return mean
  return f'{mean} ± {statistics.stdev(percent):.{digits}f}'


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  """Returns a table in Markdown."""
  return '\n'.join(f'| {" | ".join(row)} |' for row in (
      head, ['---'] * len(head), *rows))


def accuracy_at(run: Run, epoch: float) -> float:
  """Returns the accuracy of the evaluation after an epoch."""
  near = [r['accuracy'] for r in run.evals if abs(r['epoch'] - epoch) < 0.01]
  if len(near) != 1:
    raise ValueError(f'{run.path}: {len(near)} evaluations at epoch {epoch}')
  return near[0]


def at_end(found: Sequence[Run]) -> str:
  """Returns the accuracy of the last evaluation of runs, in percent."""
  return spread([run.evals[-1]['accuracy'] for run in found])


def _three_epochs():
  names = {'keras': 'Keras `fit`, Adam', 'adam': 'this trainer, Adam',
           'sgd': 'this trainer, the recipe in three epochs'}
  found = groups('three_epochs')
  return table(['test accuracy (%) after', '1 epoch', '2 epochs', '3 epochs'], [
      [words, *(spread([accuracy_at(run, epoch) for run in found[name]])
                for epoch in (1, 2, 3))]
      for name, words in names.items()])


TABLES: dict[str, Callable[[], str]] = {'three_epochs': _three_epochs}
# What the docstring of a recipe says, by its name.
SENTENCES: dict[str, Callable[[], str]] = {}


def text(page: str) -> str:
  """Returns the text of a page with its tables made again."""
  return _TABLE.sub(
      lambda match: f'{match[1]}\n{TABLES[match[2]]()}\n\n{match[3]}', page)


def shown(page: str) -> Iterator[str]:
  """Yields the names of the tables of a page."""
  return (match[2] for match in _TABLE.finditer(page))


if __name__ == '__main__':
  for path in PAGES:
    path.write_text(text(path.read_text(encoding='utf-8')), encoding='utf-8')
