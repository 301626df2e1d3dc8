"""Groups of flags, under whose headings --help shows them.

A group is a property of the place where its flags are defined:

  @flag_groups.group('Checkpoints')
  def _define_saving():
    flags.DEFINE_integer(...)
"""
from collections.abc import Iterator
import contextlib

from absl import flags

UNGROUPED = 'Flags'  # The heading of flags that are in no group.
_HIDDEN = ''  # The heading of flags that are not shown.
_groups: dict[str, list[flags.Flag]] = {}
_first: list[str] = []  # Headings that are shown before UNGROUPED.


@contextlib.contextmanager
def group(heading: str, first: bool = False) -> Iterator[None]:
  """Puts the flags that are defined within it under a heading.

  Also a decorator of a function that defines flags.

  Args:
    heading: the group's. Groups with the same heading are one.
    first: whether the group is shown before the flags that are in none.
  """
  before = set(_defined())
  yield
  grouped = {flag for found in _groups.values() for flag in found}
  _groups.setdefault(heading, []).extend(
      flag for flag in _defined() if flag not in before | grouped)
  if first:
    _first.append(heading)


def hide() -> None:
  """Hides all flags that are defined so far, those of other packages too."""
  _groups[_HIDDEN] = _defined()


def groups() -> dict[str, list[flags.Flag]]:
  """Returns {heading: its flags} of the project's flags, as they are shown.

  Flags stand in the order in which they were defined.
  """
  grouped = {flag for found in _groups.values() for flag in found}
  rest = [flag for flag in _defined() if flag not in grouped]
  shown = {name: _groups[name] for name in _first} | {UNGROUPED: rest} | _groups
  return {name: found for name, found in shown.items()
          if found and name != _HIDDEN}


def _defined():
  """Returns the flags that are defined, without absl's and config fields."""
  return [flag for module, found in flags.FLAGS.flags_by_module_dict().items()
          if not module.startswith('absl.') for flag in found
          if '.' not in flag.name]
