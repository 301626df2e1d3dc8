"""Hands a config to another process: as a recipe, in a file."""
import json
import pathlib

from configs import schema

_RECIPE = """import json
from configs import schema


def get_config():
  return schema.from_dict(json.loads({values!r}))
"""


def write(path: pathlib.Path, config: schema.Config) -> None:
  """Writes a recipe that returns `config`, for --config=PATH."""
  path.write_text(
      _RECIPE.format(values=json.dumps(schema.to_dict(config))),
      encoding='utf-8')
