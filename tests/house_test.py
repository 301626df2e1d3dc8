"""The house stays one that a reader can skim: short functions, short files."""
import ast
import math
import pathlib

import pytest

_ROOT = pathlib.Path(__file__).parent.parent
_PACKAGES = ('configs', 'launch', 'pipelines', 'resnet')
_SOURCES = sorted(path for package in _PACKAGES
                  for path in (_ROOT / package).rglob('*.py'))


def _function_lengths(text):
  """{name: lines} of all functions, methods and inner functions of a source."""
  return {f'{node.name}:{node.lineno}': node.end_lineno - node.lineno + 1
          for node in ast.walk(ast.parse(text))
          if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


def test_lengths_are_counted():
  text = ('class A:\n  def f(self):\n    def g():\n      pass\n    return g\n'
          'async def h():\n  pass\n')
  assert _function_lengths(text) == {'f:2': 4, 'g:3': 2, 'h:6': 2}


def test_files_have_320_lines_at_most():
  lengths = {path: len(path.read_text().splitlines()) for path in _SOURCES}
  assert len(lengths) > 90
  assert {path: n for path, n in lengths.items() if n > 320} == {}


def test_functions_have_80_lines_at_most_and_most_have_25():
  lengths = {}
  for path in _SOURCES:
    for name, lines in _function_lengths(path.read_text()).items():
      lengths[f'{path.relative_to(_ROOT)}:{name}'] = lines
  assert len(lengths) > 700
  assert {name: n for name, n in lengths.items() if n > 80} == {}
  ninetieth = sorted(lengths.values())[math.ceil(0.9 * len(lengths)) - 1]
  assert ninetieth <= 25


@pytest.mark.parametrize('package, most', [('launch', 12), ('resnet', 29)])
def test_a_folder_is_seen_at_a_glance(package, most):
  entries = [path.name for path in (_ROOT / package).iterdir()
             if path.name != '__pycache__']
  assert 5 < len(entries) <= most, sorted(entries)


def test_no_file_is_a_drawer():
  drawers = {'utils.py', 'util.py', 'helpers.py', 'common.py', 'misc.py'}
  assert not drawers & {path.name for path in _SOURCES}


def _without_encoding(text):
  """Lines of calls that open text files in whatever encoding the locale has.
  """
  for node in ast.walk(ast.parse(text)):
    if not isinstance(node, ast.Call):
      continue
    called = ast.unparse(node.func)
    name = called.rpartition('.')[-1]
    arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
    texts = [argument.value for argument in arguments
             if isinstance(argument, ast.Constant)]
    opens = name == 'open' and called not in ('os.open', 'Image.open') and not (
        any(isinstance(text, str) and 'b' in text for text in texts))
    path_text = {'read_text': 0, 'write_text': 1}.get(name) == len(node.args)
    if (opens or path_text) and not any(
        keyword.arg == 'encoding' for keyword in node.keywords):
      yield node.lineno


@pytest.mark.parametrize('text, lines', [
    ('open(p)', [1]), ('\nopen(p, "w")', [2]), ('p.open("a+")', [1]),
    ('(a / b).read_text()', [1]), ('p.write_text(x)', [1]),
    ('open(p, "rb")', []), ('p.open("xb", buffering=0)', []),
    ('open(p, encoding="utf-8")', []), ('p.read_text("utf-8")', []),
    ('p.write_text(x, encoding="utf-8")', []), ('os.open(p, os.O_RDONLY)', []),
    ('run.written.write_text("config", text)', [])])
def test_text_files_without_an_encoding_are_found(text, lines):
  assert list(_without_encoding(text)) == lines


def test_text_files_are_utf8():
  assert not [f'{path.relative_to(_ROOT)}:{line}' for path in _SOURCES
              for line in _without_encoding(path.read_text())]
