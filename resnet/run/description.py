"""What run.json says of a run: what it computes with, and how it ended.

Nothing in it is needed to continue. What is damaged is left out and written
anew, so that a run whose summary is lost ends once more.
"""
from collections.abc import Callable, Mapping
import pathlib
from typing import Any

from configs.process import command_line, json_file
from resnet.run.screen import report

FILE = 'run.json'


def read(folder: pathlib.Path) -> dict[str, Any]:
  """Returns what is known of a run, with a warning if some of it is damaged.

  Returns:
    {'summary': see report.summary, 'replicas': see report.replicas, 'settings':
    see surroundings.of, 'versions': {package: text}, 'data_dir': the folder of
    its data, 'init': see weights/starting.py}, as far as they are known.
  """
  path = folder / FILE
  try:
    values = json_file.read(path) or {}
  except json_file.Damaged as damage:
    _warn(path, damage.reason)
    return {}
  wrong = [name for name, is_right in _SHAPES.items()
           if values.get(name) is not None and not is_right(values[name])]
  if wrong:
    _warn(path, f'wrong: {", ".join(wrong)}')
  return {name: values[name] for name in _SHAPES
          if values.get(name) is not None and name not in wrong}


def settings(values: Mapping[str, Any]) -> dict[str, str]:
  """Returns the settings and the versions of a description, as one dict."""
  return {**values.get('versions', {}), **values.get('settings', {})}


def _warn(path, reason):
  command_line.warn(f'{path} is damaged ({reason}): it is written anew.')


def _are_replicas(value):
  return (isinstance(value, dict) and type(value.get('workers')) is int
          and value['workers'] > 0 and isinstance(value.get('devices'), list)
          and all(isinstance(device, str) for device in value['devices']))


def _are_texts(value):
  return isinstance(value, dict) and all(
      isinstance(text, str) for text in value.values())


def _is_start(value):
  return (isinstance(value, dict)
          and all(isinstance(value.get(name), str)
                  for name in ('what', 'source', 'digest', 'statistics'))
          and (value.get('step') is None or type(value['step']) is int)
          and isinstance(value.get('made_new'), list)
          and all(isinstance(name, str) for name in value['made_new'])
          and isinstance(value.get('keep_optimizer'), bool))


_SHAPES: Mapping[str, Callable[[Any], bool]] = {
    'summary': report.is_summary, 'replicas': _are_replicas,
    'settings': _are_texts, 'versions': _are_texts,
    'data_dir': lambda value: isinstance(value, str), 'init': _is_start}
