"""Keeps settings of the user's home and environment from changing the network.

What is trained follows from the config alone. Keras would take the layout of
images, the type of floats and more from ~/.keras/keras.json and the
environment, and libraries of TensorFlow would compute in another precision if a
variable says so. Settings that change no more than the last bits are left to
the user; `variables` tells which there are.
"""
from collections.abc import Mapping
import os
import re
import sys

from configs.process import command_line, xla_autotuning, xla_cache

# config.precision is what sets the precision.
_PRECISION = re.compile(
    '(ONEDNN|DNNL)_DEFAULT_FPMATH_MODE|TF_SET_ONEDNN_FPMATH_MODE|'
    'TF_CONV2D_USE_FP16_ACCUMULATE|TF_FP16_[A-Z]+_USE_FP32_COMPUTE|'
    'TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_.*')
_NUMERIC = re.compile(
    '(TF|XLA|ONEDNN|DNNL|MKL|OMP|KMP|GOMP|CUDNN|CUBLAS|CUBLASLT|JSIMD)_.*|'
    'NVIDIA_TF32_OVERRIDE|NCCL_(ALGO|PROTO|NTHREADS|M(IN|AX)_.*|.*_ENABLE)')
# Addresses, logs, places, and what is known more precisely: threads by their
# number in force.
_NOT_NUMERIC = re.compile(
    'TF_CONFIG|TF_CPP_.*|TF_GRPC_.*|TF_SQLITE_.*|TF_NUM_INTRAOP_THREADS|'
    'TF_FORCE_GPU_ALLOW_GROWTH|TF_GPU_ALLOCATOR|TF_GPU_THREAD_(MODE|COUNT)|'
    '.*(_LOG|VERBOSE|VERBOSITY|DUMP|DEBUG|TRACE|_DIR|_PATH|_HOME|_FILE).*')


def prepare() -> None:
  """Removes settings that would change the network, and says which.

  Call it before Keras and TensorFlow are imported.
  """
  for name, value in list(os.environ.items()):
    if name.startswith('KERAS_'):
      del os.environ[name]
    elif _PRECISION.fullmatch(name):
      command_line.warn(f'{name}={value} is ignored: only config.precision '
                        'changes the precision.')
      del os.environ[name]
  os.environ['KERAS_BACKEND'] = 'tensorflow'
  # There, Keras finds no keras.json and cannot write one.
  os.environ['KERAS_HOME'] = os.devnull


def settle() -> None:
  """Gives Keras its own defaults, also if it was imported before `prepare`."""
  keras = sys.modules.get('keras')
  if keras:
    keras.config.set_image_data_format('channels_last')
    keras.config.set_floatx('float32')
    keras.config.set_epsilon(1e-7)
    keras.config.set_dtype_policy('float32')


def variables(environ: Mapping[str, str]) -> dict[str, str]:
  """Returns the variables that may change the last bits of what is computed.

  Args:
    environ: the environment of this process.
  """
  found = {name: value for name, value in environ.items()
           if _NUMERIC.fullmatch(name) and not _NOT_NUMERIC.fullmatch(name)}
  # Where XLA keeps its cache and its choices.
  for name, others in (('TF_XLA_FLAGS', xla_cache.others),
                       ('XLA_FLAGS', xla_autotuning.others)):
    flags = others(found.pop(name, ''))
    if flags:
      found[name] = flags
  return dict(sorted(found.items()))
