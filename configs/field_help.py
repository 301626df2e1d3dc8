"""The help of recipes and config fields.

A field's comment in configs/schema.py, above it or behind it, is its
description; a recipe's docstring is that of the recipe.
"""
import ast
from collections.abc import Mapping
import io
import pathlib
import textwrap
import tokenize
import typing

from configs import schema
from configs.process import typed_fields

_WIDTH = 80
_HIDDEN = ('code',)  # Set by the program, not by the user.


def recipes(files: Mapping[str, pathlib.Path]) -> str:
  """Returns a list of recipes, which are {name: its file}."""
  lines = ['Recipes; --config=NAME --help shows more of one:']
  for name, path in files.items():
    lines.append(_wrapped(
        f'{name}: {_docstring(path).partition(chr(10))[0]}', '  ', '      '))
  return '\n'.join(lines)


def text(config: schema.Config, recipe: str, path: pathlib.Path) -> str:
  """Returns the help of all fields, below that of the recipe.

  Args:
    config: of a recipe; its values are shown.
    recipe: its name.
    path: its file.
  """
  described, groups = comments(), typing.get_type_hints(schema.Config)
  lines, heading = [f'Config fields, with the values of {recipe}:'], None
  about = _docstring(path)
  if about:
    lines.append(f'\n{about}')
  for field in typed_fields.plain(config):
    group, _, name = field.path.rpartition('.')
    kind = groups[group] if group else schema.Config
    if name in _HIDDEN:
      continue
    if group != heading:
      heading, about = group, (kind.__doc__ or '').partition('\n')[0]
      lines.append('\n' + _wrapped(f'{group or "config"}: {about}'))
    lines.append(_of_field(field, described.get(f'{kind.__name__}.{name}', '')))
  return '\n'.join(lines)


def _docstring(path):
  return ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''


def comments() -> dict[str, str]:
  """Returns {'Model.depth': comment} of the fields that have one."""
  source = pathlib.Path(schema.__file__).read_text(encoding='utf-8')
  lines = source.splitlines()
  behind = {token.start[0]: token.string.lstrip('# ')
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
            if token.type == tokenize.COMMENT
            and not lines[token.start[0] - 1].lstrip().startswith('#')}
  found = {}
  classes = (node for node in ast.parse(source).body
             if isinstance(node, ast.ClassDef))
  for group, field in ((c, f) for c in classes for f in c.body):
    if not (isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)):
      continue
    last = field.end_lineno or field.lineno
    words = [*_above(lines, field.lineno), *(
        behind[line] for line in range(field.lineno, last + 1)
        if line in behind)]
    if words:
      found[f'{group.name}.{field.target.id}'] = ' '.join(words)
  return found


def _above(lines, number):
  """Returns the comment lines right above a line, counted from 1."""
  above = []
  while lines[number - 2].lstrip().startswith('#'):
    number -= 1
    above.insert(0, lines[number - 1].lstrip('# '))
  return above


def _of_field(field, comment):
  value = ','.join(map(str, field.value)) if isinstance(
      field.value, tuple) else field.value
  return '\n'.join([
      f'  --config.{field.path}={value}',
      _wrapped(f'{comment} ({_kind(field)})'.lstrip(), '      ', '      ')])


def _kind(field):
  """Returns what the values of a field are: 'a number from 0 to 1'."""
  allowed = field.metadata.get('allowed')
  if allowed:
    return f'one of {", ".join(allowed)}'
  name = typed_fields.type_name(field.path, schema.Config())
  limits = field.metadata.get('limits')
  if not limits:
    return name
  return f'{name}, each {limits}' if isinstance(
      field.value, tuple) else f'{name} {limits}'


def _wrapped(words, indent='', hanging=''):
  return textwrap.fill(words, _WIDTH, initial_indent=indent,
                       subsequent_indent=hanging, break_on_hyphens=False)
