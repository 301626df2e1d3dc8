"""Keeps what XLA compiles, so that a restart does not compile it again."""
import hashlib
from importlib import metadata
import os
import pathlib
import re

from configs.process import cache_folder

_FLAG = '--tf_xla_persistent_cache_directory'
_PROC = pathlib.Path('/proc')
_MODEL = re.compile(r'^Model:[ \t]*(.*\S)', re.MULTILINE)
_VECTORS = re.compile(r'^(?:flags|Features)\s*:(.*)$', re.MULTILINE)
_UNSAFE = re.compile('[^A-Za-z0-9.]+')


def use() -> None:
  """Sets XLA's cache to a folder of the user's, unless TF_XLA_FLAGS sets it.

  Call it before TensorFlow is imported, which reads the variable then. XLA
  writes only into a folder that exists. The folder is the same for all runs,
  since the variable may have to be set before a run's flags have been read.

  XLA finds a program by what it computes, not by what it was compiled for, and
  a home may be shared by several kinds of machines: each kind, and each version
  of TensorFlow, has a folder of its own.
  """
  flags = os.environ.get('TF_XLA_FLAGS', '')
  if _FLAG in flags:
    return
  folder = cache_folder.make(f'xla/{_version()}-{_processors(_PROC)}')
  if folder:
    os.environ['TF_XLA_FLAGS'] = f'{flags} {_FLAG}={folder}'.strip()


def others(flags: str) -> str:
  """Returns the value of TF_XLA_FLAGS without what places the cache."""
  return ' '.join(flag for flag in flags.split() if not flag.startswith(_FLAG))


def _version():
  """Returns the version of TensorFlow, without importing it."""
  for name in ('tensorflow', 'tensorflow-cpu', 'tf-nightly'):
    try:
      return metadata.version(name)
    except metadata.PackageNotFoundError:
      continue
  return 'unknown'


def _processors(proc: pathlib.Path) -> str:
  """Returns a name for what XLA compiles for here: the GPUs, or the CPU.

  Args:
    proc: where the kernel and NVIDIA's driver describe the machine: /proc.
  """
  models = {model for path in proc.glob('driver/nvidia/gpus/*/information')
            for model in _MODEL.findall(_read(path))}
  if not models:
    vectors = _VECTORS.search(_read(proc / 'cpuinfo'))
    return f'cpu-{_digest(vectors[1])}' if vectors else 'cpu'
  if len(models) > 1:  # Processes may use different ones.
    models.add(f'of {_digest(os.environ.get("CUDA_VISIBLE_DEVICES", ""))}')
  return _UNSAFE.sub('-', '+'.join(sorted(models)))


def _read(path):
  try:
    return path.read_text(encoding='utf-8', errors='replace')
  except OSError:
    return ''


def _digest(text):
  return hashlib.sha256(' '.join(sorted(text.split())).encode()).hexdigest()[:8]
