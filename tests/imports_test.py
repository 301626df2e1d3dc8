"""Imports go one way, and jobs can be submitted without TensorFlow."""
import ast
import graphlib
import json
import pathlib
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).parent.parent
_TENSORFLOW = {'tensorflow', 'keras', 'tensorflow_datasets', 'tf_keras'}


def _imports(text):
  """Dotted names of all that a source imports, inside of functions as well."""
  names = set()
  for node in ast.walk(ast.parse(text)):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, 'Relative imports hide where a name comes from.'
      names |= {node.module, *(f'{node.module}.{a.name}' for a in node.names)}
  return names


def _modules(package):
  """{'resnet.loop': names it imports} of each file of a package."""
  modules = {}
  for path in sorted((_ROOT / package).rglob('*.py')):
    parts = path.relative_to(_ROOT).with_suffix('').parts
    name = '.'.join(parts).removesuffix('.__init__')
    modules[name] = _imports(path.read_text())
  assert modules, package
  return modules


def _packages(imports):
  return {name.partition('.')[0] for name in imports}


def _is_program(module):
  path = _ROOT.joinpath(*module.split('.')).with_suffix('.py')
  return path.is_file() and 'command_line.run(main, parse)' in path.read_text()


@pytest.mark.parametrize('text, names', [
    ('import a.b', {'a.b'}),
    ('from a import b, c as d', {'a', 'a.b', 'a.c'}),
    ('def f():\n  import a', {'a'}),
    ('with x:\n  try:\n    from a import b\n  except E: pass', {'a', 'a.b'}),
    ('"""import a"""', set()),
])
def test_imports_are_found_wherever_they_stand(text, names):
  assert _imports(text) == names


@pytest.mark.parametrize('package', ['configs', 'launch'])
def test_no_tensorflow(package):
  for module, imports in _modules(package).items():
    forbidden = _packages(imports) & (_TENSORFLOW | {'resnet', 'pipelines'})
    assert not forbidden, (module, forbidden)


@pytest.mark.parametrize('package, forbidden', [
    ('configs', {'resnet', 'pipelines', 'launch', 'tests'}),
    ('pipelines', {'resnet', 'launch', 'tests'}),
    ('resnet', {'tests'}),
    ('launch', {'resnet', 'pipelines', 'tests'}),
])
def test_packages_import_one_way(package, forbidden):
  for module, imports in _modules(package).items():
    assert not _packages(imports) & forbidden, module


def test_pipelines_meet_the_model_in_few_files():
  meeting = {module for module, imports in _modules('resnet').items()
             if 'pipelines' in _packages(imports) and not _is_program(module)}
  assert {module for module in meeting
          if not module.startswith('resnet.tools.')} == {
              'resnet.api', 'resnet.trainer', 'resnet.evaluation.evaluator',
              'resnet.compilation',
              'resnet.bound_steps',
              'resnet.evaluation.examples', 'resnet.evaluation.trained',
              'resnet.network', 'resnet.session',
              'resnet.distribution.feeding', 'resnet.execution.options',
              'resnet.exporting.exports', 'resnet.exporting.inference',
              'resnet.exporting.pictures', 'resnet.exporting.plain_pixels',
              'resnet.inference.predictions',
              'resnet.inference.prediction_sheet',
              'resnet.reporting.first_images', 'resnet.reporting.parts',
              'resnet.run.events.input_pictures',
              'resnet.execution.training_flags'}


def test_the_trainer_knows_addresses_but_no_launcher():
  using = {name for imports in _modules('resnet').values()
           for name in imports if _packages({name}) == {'launch'}}
  assert using
  assert all(name in ('launch', 'launch.cluster')
             or name.startswith('launch.cluster.') for name in using)


@pytest.mark.parametrize('name', [
    'models.resnet', 'models.classics', 'optimization.losses',
    'optimization.optimizers', 'optimization.schedules', 'steps'])
def test_device_code_knows_no_loop(name):
  above = {'resnet.loop', 'resnet.session', 'resnet.trainer',
           'resnet.evaluation.evaluator', 'resnet.train'}
  modules = _modules('resnet')
  assert above <= modules.keys()
  assert not modules[f'resnet.{name}'] & above


def test_nothing_imports_a_program():
  modules = {}
  for package in ('configs', 'launch', 'pipelines', 'resnet'):
    modules |= _modules(package)
  programs = {module for module in modules if _is_program(module)}
  assert {'resnet.train', 'launch.local.__main__'} < programs
  for module, imports in modules.items():
    assert not imports & programs, module


def test_no_cycles():
  modules = {}
  for package in ('configs', 'launch', 'pipelines', 'resnet'):
    modules |= _modules(package)
  order = list(graphlib.TopologicalSorter({
      module: imports & modules.keys() for module, imports in modules.items()
  }).static_order())
  assert order.index('configs.schema') < order.index('configs.loading')
  assert order.index('resnet.steps') < order.index('resnet.loop')


# Imports each module of some packages and prints {name: text} of what changed
# in the environment, and which of TensorFlow's packages were imported.
_IMPORT_ALL = """
import importlib, json, os, pkgutil, sys
forbidden = set(json.loads(sys.argv[1]))
for name in forbidden:
  sys.modules[name] = None  # Makes `import` raise ImportError.
before = dict(os.environ)
names = json.loads(sys.argv[2])
for name in list(names):
  package = importlib.import_module(name)
  if '-r' in sys.argv:
    for module in pkgutil.walk_packages(package.__path__, name + '.'):
      importlib.import_module(module.name)
      names.append(module.name)
print(len(names), dict(os.environ) == before)
"""


def _import_all(packages, *flags):
  done = subprocess.run(
      [sys.executable, '-c', _IMPORT_ALL, json.dumps(sorted(_TENSORFLOW)),
       json.dumps(packages), *flags], cwd=_ROOT, capture_output=True, text=True,
      check=False)
  assert (done.returncode, done.stderr) == (0, '')
  count, environment_is_unchanged = done.stdout.split()
  assert environment_is_unchanged == 'True'
  return int(count)


def test_packages_import_no_tensorflow_and_change_no_variable():
  assert _import_all(['resnet', 'pipelines', 'launch', 'configs']) == 4


def test_a_login_node_needs_no_tensorflow():
  """Recursively: all that a launcher may import, and the programs' flags."""
  assert _import_all(['configs', 'launch'], '-r') > 40
  assert _import_all(sorted(
      module for module in _modules('resnet') | _modules('pipelines')
      if _is_program(module))) >= 8
