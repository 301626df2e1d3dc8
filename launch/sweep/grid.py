"""Which runs a sweep is made of, what they are called, and where they stand.

A run is called by what the sweep sets, as peak=0.1_seed=2: the same name for
the same values in any order, however many others the sweep has. So a sweep can
be given more values or seeds later, and goes on.
"""
import hashlib
import itertools
import json
import pathlib
import re
from typing import NamedTuple

from absl import flags

from configs import loading, schema
from configs.process.errors import UserError

_SEED = 'seed'
# RFC 1035 allows 63 characters; Kubernetes makes longer names of a job's.
_LONGEST_LABEL = 40


class Run(NamedTuple):
  """One run of a sweep."""
  setting: str  # What it shares with the runs of other seeds: 'peak=0.1'.
  name: str
  config: schema.Config
  folder: pathlib.Path
  flags: tuple  # Of the trainer.

  @property
  def label(self):
    """The name of a job: RFC 1035, and not that of another sweep's."""
    name = f'{self.folder.parent.name}-{self.name}'
    label = re.sub('[^a-z0-9]', '-', name.lower())
    if len(label) > _LONGEST_LABEL:  # Its end tells more; words stay whole.
      mark = hashlib.sha256(name.encode()).hexdigest()[:6]
      end = label[-(_LONGEST_LABEL - 7):].partition('-')[2]
      label = f'{end}-{mark}'
    return re.sub('^[^a-z]+', '', label).rstrip('-')

  def summary(self):
    """What a run that is finished says of itself, a dict; else None."""
    try:
      return json.loads((self.folder / 'run.json').read_text()).get('summary')
    except (OSError, ValueError, AttributeError):  # The trainer tells of these.
      return None

  def has_begun(self):
    """Whether it has come as far as its first step."""
    return (self.folder / 'config.json').exists()


def make(recipe, sweeps, seeds, folder, trainer_flags):
  """The runs of a sweep, those of one setting after each other.

  Args:
    recipe: as the trainer's --config.
    sweeps: texts 'field=value,value'; each run has one value of each. Of a
      field that is a tuple the values have ; between them: '1,2;3'.
    seeds: how many, from 0 on; None: that of the recipe.
    folder: path of the folder that holds the runs.
    trainer_flags: words that all runs are given.

  Returns:
    List of Run.

  Raises:
    UserError: the trainer would not take a field or a value, the runs do not
      all differ, or one has begun with another configuration.
  """
  base = schema.plain_fields(loading.load(recipe))
  axes = [_axis(text, recipe, base) for text in sweeps]
  if seeds:
    axes.append((_SEED, [str(seed) for seed in range(seeds)]))
  fields = [field for field, _ in axes]
  for field in fields:
    if fields.count(field) > 1:
      raise UserError(f'config.{field} is set by the sweep twice: name all its '
                      f'values at once, as in --sweep={field}=VALUE,VALUE.')
  refuse_given(trainer_flags, [
      'config', 'workdir', *(f'config.{field}' for field in fields)
      ], 'after --', '; the sweep has --config, --sweep, --seeds and --workdir')
  runs = [_run(recipe, dict(zip(fields, values)), folder, trainer_flags)
          for values in itertools.product(*(values for _, values in axes))]
  _check_different(runs)
  for run in runs:
    _check_folder(run)
  return runs


def refuse_given(words, names, where, hint=''):
  """Raises UserError if flags are among words that are the sweep's to set."""
  for word in words:
    flag = re.match('--?([^=]*)', word)
    if flag and (flag[1] in names or flag[1].removeprefix('no') in names):
      raise UserError(f'--{flag[1]} {where} is set by the sweep, for each run: '
                      f'leave it out there{hint}.')


def _axis(text, recipe, base):
  """A field and the texts of its values."""
  field, _, values = text.partition('=')
  loading.check_field(field, loading.load(recipe))
  between = ';' if isinstance(base[field], tuple) else ','
  texts = [value.strip() for value in values.split(between)]
  if not all(texts):
    raise UserError(
        f'--sweep={text} lacks a value: give --sweep={field}=VALUE{between}'
        f'VALUE, with as many as there are to be runs.')
  return field, texts


def _run(recipe, values, folder, trainer_flags):
  """The run of {field: text}."""
  ours = [f'--config.{field}={text}' for field, text in values.items()]
  config, _, _ = loading.parse(
      ['', f'--config={recipe}', *_of_config(trainer_flags), *ours],
      flags.FlagValues())
  resolved = schema.plain_fields(config)
  parts = {field: f'{_short(field, resolved)}={_text(resolved[field])}'
           for field in values}
  name = '_'.join(parts.values())
  setting = '_'.join(part for field, part in parts.items() if field != _SEED)
  path = pathlib.Path(folder, name)
  return Run(setting or pathlib.Path(recipe).stem, name, config, path, (
      f'--config={recipe}', *trainer_flags, *ours, f'--workdir={path}'))


def _of_config(trainer_flags):
  """Those of the trainer's flags that set fields; others are not known here."""
  found = []
  for word, following in zip(trainer_flags, [*trainer_flags[1:], '--']):
    if re.match(r'--?(no)?config\.', word):
      found.append(word)
      if not following.startswith('--'):  # Its value.
        found.append(following)
  return found


def _short(field, fields):
  """The last part of a field's path, if no other field has it, or the path."""
  last = field.rpartition('.')[2]
  alike = [path for path in fields if path.rpartition('.')[2] == last]
  return last if len(alike) == 1 else field


def _text(value):
  """A value in characters that no shell, file system or scheduler minds."""
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
        raise UserError(f'{names.count(name)} runs would be called {name}: '
                        'give each value once, and no two that look so alike.')


def _check_folder(run):
  """Raises UserError if the run has begun with another configuration."""
  try:
    values = json.loads((run.folder / 'config.json').read_text())
    theirs = schema.from_dict(values)
  except (OSError, ValueError, AttributeError, TypeError):
    return  # There is none, or it is damaged, which the trainer tells of.
  differences = schema.differences(theirs, run.config)
  if differences:
    raise UserError(
        f'{run.folder} holds a run of another configuration '
        f'({"; ".join(differences)}): give those fields their old values to '
        'go on, or another --workdir.')
