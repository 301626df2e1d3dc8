"""XLA's choices of kernels are kept with the run."""
import os
import pathlib
import subprocess
import sys

import pytest

from configs.process import numerics, xla_autotuning

_FLAG = '--xla_gpu_per_fusion_autotune_cache_dir'


@pytest.mark.parametrize('given, found', [
    (None, f'{_FLAG}="/runs/r"'),
    ('', f'{_FLAG}="/runs/r"'),
    (' --xla_a=1 ', f'--xla_a=1 {_FLAG}="/runs/r"'),
    (f'{_FLAG}=/mine', f'{_FLAG}=/mine'),
    ('--xla_gpu_load_autotune_results_from=/x',
     '--xla_gpu_load_autotune_results_from=/x'),
    ('/a/file/with/flags', '/a/file/with/flags')])
def test_what_the_user_set_is_kept(monkeypatch, given, found):
  monkeypatch.delenv('XLA_FLAGS', raising=False)
  if given is not None:
    monkeypatch.setenv('XLA_FLAGS', given)
  xla_autotuning.keep(pathlib.Path('/runs/r'))
  assert os.environ['XLA_FLAGS'] == found


def test_folders_are_absolute(tmp_path, monkeypatch):
  monkeypatch.setenv('XLA_FLAGS', '')
  monkeypatch.chdir(tmp_path)
  xla_autotuning.keep(pathlib.Path('runs/r'))
  assert os.environ['XLA_FLAGS'] == f'{_FLAG}="{tmp_path}/runs/r"'
  assert not list(tmp_path.iterdir())  # It may not become a run folder.


def test_a_folder_that_cannot_be_created_is_not_named(tmp_path, monkeypatch):
  monkeypatch.setenv('XLA_FLAGS', '--xla_a=1')
  asked = []
  monkeypatch.setattr(
      os, 'access', lambda path, mode: asked.append(os.fspath(path)))
  xla_autotuning.keep(tmp_path / 'runs/r')
  assert (os.environ['XLA_FLAGS'], asked) == ('--xla_a=1', [f'{tmp_path}'])


@pytest.mark.parametrize('path', [
    '/runs/r', '/it\'s "here"/a b', r'/back\slash', '/--xla_b=1'])
def test_where_choices_are_kept_changes_no_number(monkeypatch, path):
  monkeypatch.setenv('XLA_FLAGS', '--xla_a=1 --xla_b="x y"')
  xla_autotuning.keep(pathlib.Path(path))
  assert numerics.variables({
      'XLA_FLAGS': os.environ['XLA_FLAGS'] + ' --xla_c=2'}) == {
          'XLA_FLAGS': '--xla_a=1 --xla_b="x y" --xla_c=2'}
  monkeypatch.setenv('XLA_FLAGS', '')
  xla_autotuning.keep(pathlib.Path(path))
  assert numerics.variables({'XLA_FLAGS': os.environ['XLA_FLAGS']}) == {}


_COMPILE = '''
import tensorflow as tf
print(float(tf.function(lambda x: x + 1, jit_compile=True)(1.0)))
'''


def _compile(flags):
  return subprocess.run(
      [sys.executable, '-c', _COMPILE], capture_output=True, text=True,
      check=False, env={**os.environ, 'XLA_FLAGS': flags})


@pytest.mark.slow
def test_xla_knows_the_flag_and_reads_any_path(monkeypatch):
  """XLA ends a process that gives it an unknown flag."""
  monkeypatch.setenv('XLA_FLAGS', '')
  xla_autotuning.keep(pathlib.Path('/a --xla_b=1/it\'s "here"\\'))
  flags = os.environ['XLA_FLAGS']
  done = _compile(flags)
  assert (done.returncode, done.stdout) == (0, '2.0\n'), done.stderr
  done = _compile(f'{flags} --xla_gpu_per_fusion_autotune_cache_folder=/x')
  assert done.returncode and (
      'Unknown flag in XLA_FLAGS: --xla_gpu_per_fusion_autotune_cache_folder'
  ) in done.stderr
