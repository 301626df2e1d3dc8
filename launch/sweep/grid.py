"""Which runs a sweep consists of, their names and their folders.

A run is named after what the sweep sets, such as peak=0.1_seed=2. A setting has
the same name whatever else the sweep tries, so that values and seeds can be
added to a sweep later, and runs that have finished are not trained again.
"""
from collections.abc import Iterable, Sequence
import hashlib
import itertools
import math
import pathlib
import re
from typing import NamedTuple

from absl import flags

from configs import loading, schema
from configs.process import flag_words, json_file
from configs.process.errors import TryAgain, UserError

FIGURES = ('accuracy', 'best_accuracy')  # In the summary of a run.
MOST_RUNS = 1000  # More is a slip; all are built before the first starts.
_SEED = 'seed'
# RFC 1035 allows 63 characters; Kubernetes derives longer names from a job's.
_LONGEST_LABEL = 40


class Run(NamedTuple):
  """One run of a sweep."""
  setting: str  # What it shares with the runs of other seeds: 'peak=0.1'.
  name: str
  config: schema.Config
  folder: pathlib.Path
  flags: tuple[str, ...]  # The trainer's.

  @property
  def label(self) -> str:
    """A job name as in RFC 1035, different from those of other sweeps."""
    name = f'{self.folder.parent.name}-{self.name}'
    label = re.sub('[^a-z0-9]', '-', name.lower())
    if len(label) > _LONGEST_LABEL:  # Keeps the end, cut between words.
      mark = hashlib.sha256(name.encode()).hexdigest()[:6]
      end = label[-(_LONGEST_LABEL - 7):].partition('-')[2]
      label = f'{end}-{mark}'
    return re.sub('^[^a-z]+', '', label).rstrip('-')

  def summary(self) -> dict | None:
    """Returns the summary of a finished run; None while it is not finished."""
    try:
      values = json_file.read(self.folder / 'run.json')
    except (UserError, TryAgain):  # The trainer reports these.
      return None
    summary = values and values.get('summary')
    is_one = isinstance(summary, dict) and all(
        json_file.is_number(summary.get(figure)) for figure in FIGURES)
    return summary if is_one else None

  def has_started(self) -> bool:
    """Returns whether the run has come as far as its first step."""
    return (self.folder / 'config.json').exists()


def make(recipe: str, sweeps: Sequence[str], seeds: int | None,
         folder: str | pathlib.Path, trainer_flags: Sequence[str]) -> list[Run]:
  """Returns the runs of a sweep; the seeds of one setting follow each other.

  Args:
    recipe: the trainer's --config.
    sweeps: texts 'field=value,value'; each run has one value of each. The
      values of a field that is a tuple are separated by ';': '1,2;3'.
    seeds: number of seeds, which count from 0; None: the recipe's seed.
    folder: path of the folder that holds the run folders.
    trainer_flags: flags that all runs share.

  Raises:
    UserError: the trainer would refuse a field or a value, the runs are too
      many, two would have the same name, or one was started with another
      configuration.
  """
  base = schema.plain_fields(loading.load(recipe))
  axes = [_axis(text, recipe, base) for text in sweeps]
  count = math.prod(len(values) for _, values in axes) * (seeds or 1)
  if count > MOST_RUNS:
    raise UserError(
        f'--sweep and --seeds ask for {count} runs, and a sweep has at most '
        f'{MOST_RUNS}: give fewer values, or divide them among several sweeps.')
  if seeds:
    axes.append((_SEED, [str(seed) for seed in range(seeds)]))
  fields = [field for field, _ in axes]
  for field in fields:
    if fields.count(field) > 1:
      raise UserError(f'The sweep sets config.{field} twice: give all its '
                      f'values at once, as in --sweep={field}=VALUE,VALUE.')
  refuse_given(
      ['config', 'workdir', *(f'config.{field}' for field in fields)],
      trainer_flags, 'after --', " and use the sweep's own --config, --sweep, "
      '--seeds and --workdir')
  runs = [_run(recipe, dict(zip(fields, values)), folder, trainer_flags)
          for values in itertools.product(*(values for _, values in axes))]
  _check_different(runs)
  for run in runs:
    _check_folder(run)
  return runs


def refuse_given(names: Iterable[str], words: Sequence[str], where: str,
                 hint: str = '') -> None:
  """Raises UserError if words set flags that the sweep sets itself.

  Args:
    names: the flags' names, without dashes.
    words: a command line.
    where: where the user gave the words, for the sentence.
    hint: what else to do than remove the flag, the end of the sentence.
  """
  names = list(names)
  for word in words:
    if flag_words.given(names, [word]):
      raise UserError(
          f'--{flag_words.name_of(word)} {where} is not allowed, as the sweep '
          f'sets it for each run: remove it{hint}.')


def _axis(text, recipe, base):
  """Returns a field and the texts of its values."""
  field, _, values = text.partition('=')
  loading.check_field(field, loading.load(recipe))
  separator = ';' if isinstance(base[field], tuple) else ','
  texts = [value.strip() for value in values.split(separator)]
  if not all(texts):
    raise UserError(
        f'--sweep={text} is missing a value: give one value for each run, as '
        f'in --sweep={field}=VALUE{separator}VALUE.')
  return field, texts


def _run(recipe, values, folder, trainer_flags):
  """Returns the run whose config has the values, {field: text}."""
  ours = [f'--config.{field}={text}' for field, text in values.items()]
  config, _, _ = loading.parse(
      ['', f'--config={recipe}', *flag_words.select('config.', trainer_flags),
       *ours], flags.FlagValues())
  resolved = schema.plain_fields(config)
  parts = {field: f'{_short(field, resolved)}={_text(resolved[field])}'
           for field in values}
  name = '_'.join(parts.values())
  setting = '_'.join(part for field, part in parts.items() if field != _SEED)
  path = pathlib.Path(folder, name)
  return Run(setting or pathlib.Path(recipe).stem, name, config, path, (
      f'--config={recipe}', *trainer_flags, *ours, f'--workdir={path}'))


def _short(field, fields):
  """Returns the last part of a field's path, or all of it if ambiguous."""
  last = field.rpartition('.')[2]
  alike = [path for path in fields if path.rpartition('.')[2] == last]
  return last if len(alike) == 1 else field


def _text(value):
  """Returns a value in characters that need no quotes in shells or paths."""
  if isinstance(value, tuple):
    return '-'.join(map(_text, value))
  if isinstance(value, bool):
    return str(value).lower()
  text = value if isinstance(value, str) else f'{value:.12g}'
  return re.sub(r'[^\w.+-]', '-', text, flags=re.ASCII)


def _check_different(runs):
  for kind in ('name', 'label'):
    names = [getattr(run, kind) for run in runs]
    for name in names:
      if names.count(name) > 1:
        raise UserError(
            f'{names.count(name)} runs would be named {name}: remove the '
            'values that are repeated or too much alike.')


def _check_folder(run):
  """Raises UserError if the run was started with another configuration."""
  try:
    values = json_file.read(run.folder / 'config.json')
    if values is None:
      return
    theirs = schema.from_dict(values)
  except (UserError, TryAgain):
    return  # It is damaged, which the trainer reports.
  differences = schema.differences(theirs, run.config)
  if differences:
    raise UserError(
        f'{run.folder} holds a run with another configuration '
        f'({"; ".join(differences)}): restore the old values to continue that '
        'run, or give another --workdir.')
