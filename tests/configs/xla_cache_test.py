"""XLA keeps what it compiles in a folder of the user's cache."""
from importlib import metadata
import re

import pytest

from configs.process import xla_cache

_FLAG = '--tf_xla_persistent_cache_directory'


@pytest.fixture
def machine(tmp_path, monkeypatch):
  """A folder that stands for /proc, of a machine with two processors."""
  monkeypatch.setattr(xla_cache, '_PROC', tmp_path / 'proc')
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  monkeypatch.setenv('TF_XLA_FLAGS', '')
  monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
  (tmp_path / 'proc').mkdir()
  _describe_cpu(tmp_path, 'fpu avx2')
  return tmp_path


def _describe_cpu(machine, flags):
  (machine / 'proc/cpuinfo').write_text(
      f'processor\t: 0\nmodel name\t: A\nflags\t\t: {flags}\n\nprocessor\t: 1\n'
      f'flags\t\t: none\n')


def _add_gpu(machine, bus, model):
  """Adds a GPU as NVIDIA's driver describes it."""
  folder = machine / 'proc/driver/nvidia/gpus' / bus
  folder.mkdir(parents=True)
  (folder / 'information').write_text(
      f'Model: \t\t {model}\nIRQ:   \t\t 131\nGPU UUID: \t GPU-{bus}\n'
      'Bus Type: \t PCIe\nDMA Size: \t 47 bits\n')


def _folder(machine):
  """Returns the folder that is set, below that of the cache."""
  xla_cache.os.environ['TF_XLA_FLAGS'] = ''
  xla_cache.use()
  found = xla_cache.os.environ['TF_XLA_FLAGS'].removeprefix(f'{_FLAG}=')
  assert (machine / found).is_dir()
  return found.removeprefix(f'{machine}/cache/resnet-trainer/xla/')


def test_the_folder_is_created_and_named_to_xla(machine, monkeypatch):
  monkeypatch.setenv('TF_XLA_FLAGS', '--tf_xla_auto_jit=2')
  xla_cache.use()
  before, after = xla_cache.os.environ['TF_XLA_FLAGS'].split()
  assert before == '--tf_xla_auto_jit=2'
  folder, = (machine / 'cache/resnet-trainer/xla').iterdir()
  assert after == f'{_FLAG}={folder}'


def test_a_folder_that_the_user_chose_is_kept(machine, monkeypatch):
  monkeypatch.setenv('TF_XLA_FLAGS', f'{_FLAG}=/own')
  xla_cache.use()
  assert xla_cache.os.environ['TF_XLA_FLAGS'] == f'{_FLAG}=/own'
  assert not (machine / 'cache').exists()


def test_without_a_writable_cache_nothing_is_set(tmp_path, monkeypatch):
  (tmp_path / 'file').write_text('')
  monkeypatch.setenv('XDG_CACHE_HOME', f'{tmp_path}/file')
  monkeypatch.delenv('TF_XLA_FLAGS', raising=False)
  xla_cache.use()
  assert 'TF_XLA_FLAGS' not in xla_cache.os.environ


def test_each_version_has_a_folder(machine, monkeypatch):
  import tensorflow as tf
  assert _folder(machine).startswith(f'{tf.__version__}-cpu-')

  def version(name):
    if name == 'tf-nightly':
      return '9.9.0.dev1'
    raise metadata.PackageNotFoundError(name)

  monkeypatch.setattr(metadata, 'version', version)
  assert _folder(machine).startswith('9.9.0.dev1-cpu-')
  monkeypatch.setattr(metadata, 'version', lambda name: version('none'))
  assert _folder(machine).startswith('unknown-cpu-')


def test_each_kind_of_cpu_has_a_folder(machine):
  one = _folder(machine)
  assert re.search('-cpu-[0-9a-f]{8}$', one)
  _describe_cpu(machine, 'avx2 fpu')
  assert _folder(machine) == one
  _describe_cpu(machine, 'avx512f avx2 fpu')
  assert _folder(machine) != one
  (machine / 'proc/cpuinfo').unlink()
  assert _folder(machine).endswith('-cpu')


def test_each_kind_of_gpu_has_a_folder(machine, monkeypatch):
  for bus in ('0000:07:00.0', '0000:0f:00.0'):
    _add_gpu(machine, bus, 'NVIDIA A100-SXM4-80GB')
  a100 = _folder(machine).partition('-')[2]
  assert a100 == 'NVIDIA-A100-SXM4-80GB'
  # Of a machine with several kinds, each process may use another one.
  _add_gpu(machine, '0000:10:00.0', 'Tesla T4/..')
  mixed = _folder(machine).partition('-')[2]
  assert re.fullmatch(
      'NVIDIA-A100-SXM4-80GB-Tesla-T4-..-of-[0-9a-f]{8}', mixed)
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '2')
  assert _folder(machine).partition('-')[2] not in (a100, mixed)
