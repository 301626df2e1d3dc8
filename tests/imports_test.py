"""Imports go one way, and jobs can be submitted without TensorFlow."""
import ast
import graphlib
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


def _is_binary(module):
  path = _ROOT.joinpath(*module.split('.')).with_suffix('.py')
  return path.is_file() and "\nif __name__ == '__main__':" in path.read_text()


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
  # The packages resnet and pipelines import TensorFlow themselves.
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
             if 'pipelines' in _packages(imports) and not _is_binary(module)}
  assert meeting == {'resnet.trainer', 'resnet.network', 'resnet.loop',
                     'resnet.training_flags'}


def test_only_flags_know_how_jobs_are_started():
  harmless = {'launch', 'launch.cluster', 'launch.cluster.addresses'}
  using = {module for module, imports in _modules('resnet').items()
           if 'launch' in _packages(imports - harmless)}
  assert using == {'resnet.execution_flags'}


@pytest.mark.parametrize('name', [
    'model', 'classics', 'losses', 'optimizers', 'schedules', 'steps'])
def test_device_code_knows_no_loop(name):
  above = {'resnet.loop', 'resnet.trainer', 'resnet.train'}
  modules = _modules('resnet')
  assert above <= modules.keys()
  assert not modules[f'resnet.{name}'] & above


def test_nothing_imports_a_binary():
  modules = _modules('resnet') | _modules('launch')
  binaries = {module for module in modules if _is_binary(module)}
  assert 'resnet.train' in binaries
  for module, imports in modules.items():
    assert not imports & binaries, module


def test_no_cycles():
  modules = {}
  for package in ('configs', 'launch', 'pipelines', 'resnet'):
    modules |= _modules(package)
  order = list(graphlib.TopologicalSorter({
      module: imports & modules.keys() for module, imports in modules.items()
  }).static_order())
  assert order.index('configs.schema') < order.index('configs.loading')
  assert order.index('resnet.steps') < order.index('resnet.loop')


_LOGIN_NODE = """
import importlib, pkgutil, sys
for name in ('tensorflow', 'keras', 'tensorflow_datasets'):
  sys.modules[name] = None  # Makes `import` raise ImportError.
try:
  import resnet
except ImportError:
  pass
else:
  sys.exit('TensorFlow was there after all.')
import configs.loading, launch
for package in (configs, launch):
  for module in pkgutil.iter_modules(package.__path__, package.__name__ + '.'):
    importlib.import_module(module.name)
print(configs.loading.load(configs.loading.DEFAULT).data.name)
"""


def test_configs_and_launch_work_without_tensorflow():
  done = subprocess.run(
      [sys.executable, '-c', _LOGIN_NODE], cwd=_ROOT, capture_output=True,
      text=True, check=False)
  assert (done.returncode, done.stdout, done.stderr) == (0, 'digits\n', '')
