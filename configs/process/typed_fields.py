"""Dataclasses whose fields know their types and limits, and how to check them.

A config is a dataclass with groups of fields, which are dataclasses too. The
path of a plain field is its name after that of its group: 'optimizer.name'.
"""
from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import math
import typing
from typing import Any, NamedTuple, TypeVar

from configs.process import foreign_flags, near_names
from configs.process.errors import printable, UserError

LISTED = '`python -m resnet.train --help`'  # Where recipes and fields are.

_Value = TypeVar('_Value')
_LONGEST_SHOWN = 200  # Characters of a value.
_TYPE_NAMES = {
    int: 'a whole number', float: 'a number', str: 'a word',
    bool: 'true or false',
    tuple[int, ...]: 'a tuple of whole numbers such as 128,224',
    tuple[str, ...]: 'a tuple of words such as *kernel,logits/*',
    tuple[float, ...]: 'a tuple of numbers such as 0.5,0.75'}


class WrongType(UserError):
  """A value is not of the type of its field."""


class Field(NamedTuple):
  """A plain field of a config."""
  path: str
  value: Any
  type: Any  # One of _TYPE_NAMES.
  metadata: Mapping[str, Any]


def one_of(default: str, *others: str) -> str:
  """Returns a string field whose value must be `default` or one of `others`."""
  return dataclasses.field(
      default=default, metadata={'allowed': (default, *others)})


def at_least(minimum: float, default: _Value) -> _Value:
  """Returns a field of numbers that are not smaller than `minimum`."""
  return _limited(default, f'of at least {minimum}', lambda v: v >= minimum)


def within(minimum: float, maximum: float, default: _Value) -> _Value:
  """Returns a field of numbers from `minimum` to `maximum`."""
  return _limited(default, f'from {minimum} to {maximum}',
                  lambda v: minimum <= v <= maximum)


def off_or(minimum: float, maximum: float, default: _Value) -> _Value:
  """Returns a field of numbers that are 0, or from `minimum` to `maximum`."""
  return _limited(default, f'of 0, or from {minimum} to {maximum}',
                  lambda v: v == 0 or minimum <= v <= maximum)


def share(default: _Value) -> _Value:
  """Returns a field of numbers from 0 to less than 1."""
  return _limited(default, 'of at least 0 and less than 1',
                  lambda v: 0 <= v < 1)


def _limited(default, limits, fits):
  """Returns a field of a number, or of a tuple of numbers that all fit."""
  return dataclasses.field(
      default=default, metadata={'limits': limits, 'fits': fits})


def plain(config: Any, prefix: str = '') -> Iterator[Field]:
  """Yields each plain field of a config.

  Raises:
    UserError: a group is not what it must be.
  """
  types = typing.get_type_hints(type(config))
  for field in dataclasses.fields(config):
    value, path = getattr(config, field.name, None), prefix + field.name
    kind = types[field.name]
    if not dataclasses.is_dataclass(kind):
      yield Field(path, value, kind, field.metadata)
    elif type(value) is kind:  # Fields of a subclass would change nothing.
      yield from plain(value, f'{path}.')
    else:
      name = types[field.name].__name__
      raise _wrong_type(path, value, f'a configs.schema.{name}')


def check_types(config: Any) -> None:
  """Raises UserError unless a config has just its fields, of their types."""
  for field in plain(config):
    _check_type(field.path, field.value, field.type)
  groups = {'': config, **{f'{name}.': group for name, group
                           in vars(config).items()
                           if dataclasses.is_dataclass(group)}}
  for prefix, group in groups.items():
    fields = {field.name for field in dataclasses.fields(group)}
    for name in vars(group):
      if name not in fields:  # A recipe has misspelt it.
        raise UserError(unknown(prefix + name, config))


def check_limits(config: Any) -> None:
  """Raises UserError unless all values of a config, by itself, are allowed."""
  for path, value, _, metadata in plain(config):
    allowed = metadata.get('allowed')
    if allowed and value not in allowed:
      raise UserError(
          f'config.{path}={_shown(value)} is unknown'
          f'{near_names.hint(value, allowed)}: choose one of '
          f'{", ".join(allowed)}.')
    limits = metadata.get('limits')
    values = value if isinstance(value, tuple) else (value,)
    if limits and not all(map(metadata['fits'], values)):
      raise UserError(f'config.{path}={_shown(value)} is out of range: give a '
                      f'value {limits}.')


def unknown(path: str, config: Any) -> str:
  """Returns the sentence for a field that does not exist."""
  near = _near(path, [field.path for field in plain(config)])
  hint = near_names.meant(f'config.{name}' for name in near[:3])
  return f'config.{path} does not exist{hint}: {LISTED} lists the fields.'


def _near(path, names):
  """Returns the fields that the path of none might mean."""
  group, _, last = path.rpartition('.')
  groups = {name.rpartition('.')[0] for name in names}
  for near in near_names.find(group, groups):
    if near != group and f'{near}.{last}' in names:
      return [f'{near}.{last}']
  begun = [name for name in names if path.startswith(f'{name}.')]
  same = [name for name in names if name.rpartition('.')[-1] == last]
  # Not whatever else begins with the same group.
  alike = [name for name in near_names.find(path, names)
           if near_names.find(last, [name.rpartition('.')[-1]])]
  found = begun or [name for name in alike if name in same] or same or alike
  if not found:
    known = foreign_flags.near(last, {'config'})
    found = [known.removeprefix('config.')] if known else []
  return found


def words(field: Field) -> Sequence[str]:
  """Returns the words that the value of a field can be; () if all can."""
  if field.type is bool:
    return 'true', 'false'
  return field.metadata.get('allowed', ())


def type_name(path: str, config: Any) -> str:
  """Returns what a value of the field at `path` must be: 'a number'.

  Raises:
    KeyError: there is no such field.
  """
  return {field.path: _TYPE_NAMES[field.type] for field in plain(config)}[path]


def build(cls: Any, values: Any, prefix: str = '') -> Any:
  """Makes a config of nested dicts. Fields that are missing get their defaults.

  Args:
    cls: the config's class.
    values: what json has read from a file.
    prefix: the path of the group that is built, with a point.

  Raises:
    UserError: a field does not exist, or a group is not a dict.
  """
  types = typing.get_type_hints(cls)
  if not isinstance(values, Mapping):
    raise _wrong_type(prefix, values, 'a JSON object')
  for name in sorted(set(values) - set(types)):
    raise UserError(
        f'config.{prefix}{name} does not exist in this version (its fields are '
        f'{", ".join(types)}): use the version that wrote the config.')
  fields = {}
  for name, value in values.items():
    if dataclasses.is_dataclass(types[name]):
      value = build(types[name], value, f'{prefix}{name}.')
    fields[name] = tuple(value) if isinstance(value, list) else value
  return cls(**fields)


def _check_type(path, value, field_type):
  """Raises UserError unless value is a field_type; an int passes as float."""
  if typing.get_origin(field_type) is tuple:
    if not isinstance(value, tuple):
      raise _wrong_type(path, value, _TYPE_NAMES[field_type])
    for item in value:
      _check_type(path, item, typing.get_args(field_type)[0])
    return
  if not _fits(value, field_type):
    raise _wrong_type(path, value, _TYPE_NAMES[field_type])
  if isinstance(value, str) and _is_not_text(path, value):
    raise UserError(f'config.{path}={_shown(value)} has control characters, or '
                    'is not UTF-8: give plain text.')


def _is_not_text(path, value):
  text = value
  if path == 'code':  # Lines of source.
    text = value.translate({ord('\n'): ' ', ord('\t'): ' ', ord('\r'): ' '})
  return printable(text, len(text)) != text


def _fits(value: Any, field_type: type) -> bool:
  if isinstance(value, bool) or field_type is not float:
    return isinstance(value, field_type) and (
        field_type is bool or not isinstance(value, bool))
  try:
    return isinstance(value, (int, float)) and math.isfinite(value)
  except OverflowError:  # An int that no float can hold.
    return False


def _wrong_type(path, value, wanted):
  name = f'config.{path}'.rstrip('.')
  return WrongType(
      f'{name}={_shown(value)} has the wrong type: give {wanted}.')


def _shown(value):
  """Returns a value as text. A recipe can hold anything, huge numbers too."""
  try:
    return printable(repr(value), _LONGEST_SHOWN)
  except Exception:  # repr() may raise anything.
    return f'<{type(value).__name__}>'
