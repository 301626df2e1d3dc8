"""configs/FIELDS.md: all fields of a config, as configs/schema.py has them.

  python -m tests.configs.fields_page    # Writes the page again.
"""
import pathlib
import typing

from configs import field_help, schema
from configs.process import typed_fields

PAGE = pathlib.Path(__file__).parents[2] / 'configs' / 'FIELDS.md'
_HEAD = """\
# All fields of a config

Written by `python -m tests.configs.fields_page` from
[schema.py](schema.py); a test holds that it is up to date. Set a field on the
command line as `--config.GROUP.FIELD=VALUE`, or in a [recipe](README.md).
Defaults are those of the schema: `--config=NAME --help` shows the values of a
recipe.
"""


def text() -> str:
  """Returns the text that the page must have."""
  comments, kinds = field_help.comments(), typing.get_type_hints(schema.Config)
  groups = {}
  for field in typed_fields.plain(schema.Config()):
    group, _, name = field.path.rpartition('.')
    if name != 'code':  # Set by the program, not by the user.
      groups.setdefault(group, []).append((name, field))
  parts = [_HEAD]
  for group, fields in groups.items():
    kind = kinds[group] if group else schema.Config
    about = (kind.__doc__ or '').strip().splitlines()
    parts.append('\n'.join([
        f'## {group or "config"}', '', *(line.strip() for line in about), '',
        '| field | default | allowed | meaning |', '| --- | --- | --- | --- |',
        *(_row(name, field, comments.get(f'{kind.__name__}.{name}', ''))
          for name, field in fields)]) + '\n')
  return '\n'.join(parts)


def _row(name, field, comment):
  allowed = field.metadata.get('allowed')
  limits = field.metadata.get('limits')
  kind = ', '.join(f'`{one}`' for one in allowed) if allowed else (
      typed_fields.type_name(field.path, schema.Config()))
  each = ', each' if isinstance(field.value, tuple) else ''
  words = f'{kind}{each} {limits}' if limits else kind
  cells = f'`{name}`', f'`{_value(field.value)}`', words, comment
  return f'| {" | ".join(cell.replace("|", "&#124;") for cell in cells)} |'


def _value(value):
  """Returns a value as it is given on the command line."""
  if isinstance(value, tuple):
    return ','.join(f'{one:.4g}' if isinstance(one, float) else str(one)
                    for one in value) or '()'
  return f'{value:g}' if isinstance(value, float) else str(value)


if __name__ == '__main__':
  PAGE.write_text(text(), encoding='utf-8')
