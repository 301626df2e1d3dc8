"""Neither the user's home nor the environment changes the network."""
import json
import os
import subprocess
import sys

import keras
import pytest

from configs.process import numerics, python_module


def test_no_setting_of_keras_is_left(monkeypatch):
  for name in ('KERAS_BACKEND', 'KERAS_HOME', 'KERAS_MAX_EPOCHS',
               'KERAS_NNX_ENABLED', 'KERAS_OF_THE_FUTURE'):
    monkeypatch.setenv(name, 'jax')
  numerics.prepare()
  assert {name: value for name, value in os.environ.items()
          if name.startswith('KERAS_')} == {
              'KERAS_BACKEND': 'tensorflow', 'KERAS_HOME': os.devnull}


@pytest.mark.parametrize('name', [
    'ONEDNN_DEFAULT_FPMATH_MODE', 'DNNL_DEFAULT_FPMATH_MODE',
    'TF_SET_ONEDNN_FPMATH_MODE', 'TF_CONV2D_USE_FP16_ACCUMULATE',
    'TF_FP16_MATMUL_USE_FP32_COMPUTE',
    'TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_LEVEL'])
def test_only_the_config_sets_the_precision(monkeypatch, capsys, name):
  for kept in ('KERAS_BACKEND', 'KERAS_HOME'):  # Restored at the end.
    monkeypatch.setenv(kept, os.environ.get(kept, ''))
  monkeypatch.setenv(name, 'BF16')
  numerics.prepare()
  assert name not in os.environ
  assert capsys.readouterr().err == (
      f'warning: {name}=BF16 is ignored: only config.precision changes the '
      'precision.\n')


def test_keras_that_is_imported_already_gets_its_defaults():
  keras.config.set_image_data_format('channels_first')
  keras.config.set_floatx('float16')
  keras.config.set_epsilon(0.5)
  keras.config.set_dtype_policy('mixed_bfloat16')
  numerics.settle()
  assert keras.config.image_data_format() == 'channels_last'
  assert keras.config.floatx() == 'float32'
  assert keras.config.epsilon() == 1e-7
  assert keras.config.dtype_policy().name == 'float32'


def test_what_may_change_the_last_bits_is_found():
  assert numerics.variables({
      'TF_ENABLE_ONEDNN_OPTS': '0', 'ONEDNN_MAX_CPU_ISA': 'AVX2',
      'OMP_NUM_THREADS': '1', 'XLA_FLAGS': '--xla_cpu_enable_fast_math=true',
      'NVIDIA_TF32_OVERRIDE': '0', 'NCCL_ALGO': 'Tree',
      'JSIMD_FORCENONE': '1', 'TF_DETERMINISTIC_OPS': '1',
      'TF_SOMETHING_OF_THE_FUTURE': '7',
      'TF_XLA_FLAGS': '--tf_xla_auto_jit=2 '
                      '--tf_xla_persistent_cache_directory=/home/me',
      'TF_CONFIG': '{}', 'TF_CPP_MIN_LOG_LEVEL': '3', 'ONEDNN_VERBOSE': '1',
      'XLA_DUMP_TO': '/x', 'NCCL_DEBUG': 'INFO', 'NCCL_SOCKET_IFNAME': 'eth0',
      'NVIDIA_VISIBLE_DEVICES': 'all', 'TF_FORCE_GPU_ALLOW_GROWTH': 'true',
      'TF_GPU_THREAD_MODE': 'gpu_private', 'TF_GPU_THREAD_COUNT': '4',
      'TF_NUM_INTRAOP_THREADS': '2', 'PATH': '/bin'}) == {
          'JSIMD_FORCENONE': '1', 'NCCL_ALGO': 'Tree',
          'NVIDIA_TF32_OVERRIDE': '0', 'OMP_NUM_THREADS': '1',
          'ONEDNN_MAX_CPU_ISA': 'AVX2', 'TF_DETERMINISTIC_OPS': '1',
          'TF_ENABLE_ONEDNN_OPTS': '0', 'TF_SOMETHING_OF_THE_FUTURE': '7',
          'TF_XLA_FLAGS': '--tf_xla_auto_jit=2',
          'XLA_FLAGS': '--xla_cpu_enable_fast_math=true'}
  assert numerics.variables({
      'TF_XLA_FLAGS': '--tf_xla_persistent_cache_directory=/x'}) == {}


_SHOW = '''
from configs.process import tensorflow_process
with tensorflow_process.starting():
  import keras
config = keras.config
print([config.backend(), config.image_data_format(), config.floatx(),
       config.epsilon(), config.dtype_policy().name])
'''


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize('content', [
    '{"image_data_format": "channels_first", "floatx": "float16", '
    '"epsilon": 0.5, "backend": "jax"}',
    '{"floatx": 5}', '[]', '\0'])
def test_keras_json_is_never_read_nor_written(tmp_path, content):
  """The last three would end the import with a traceback."""
  home = tmp_path / '.keras'
  home.mkdir()
  (home / 'keras.json').write_text(content)
  for environment in ({'HOME': str(tmp_path)}, {'KERAS_HOME': str(home)}):
    result = subprocess.run(
        [sys.executable, '-c', _SHOW], capture_output=True, text=True,
        check=True, env=python_module.environment({
            **os.environ, 'KERAS_BACKEND': 'jax', 'KERAS_MAX_EPOCHS': 'many',
            **environment}))
    assert json.loads(result.stdout.replace("'", '"')) == [
        'tensorflow', 'channels_last', 'float32', 1e-07, 'float32']
  assert (home / 'keras.json').read_text() == content
