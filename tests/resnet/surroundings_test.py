"""What may change the last bits of a run is recorded; a change is said."""
import json
import os
import platform

import pytest

from resnet.execution.options import Options
from resnet.run import description, surroundings
from resnet.run.screen import report
from tests import processes


@pytest.fixture
def plain_environment(monkeypatch):
  """Without what the machine that runs the tests may have set."""
  for name in os.environ:
    if name.startswith(('TF_', 'OMP_', 'XLA_', 'ONEDNN_')):
      monkeypatch.delenv(name)


def test_what_a_process_computes_with(plain_environment, monkeypatch):
  found = surroundings.of(Options(jit='true', deterministic=True), 'ab' * 32)
  assert found['threads'] == str(len(os.sched_getaffinity(0)))
  assert found['source files'] == 'abababababab'
  assert (found['--jit'], found['--deterministic']) == ('true', 'true')
  assert found['cpu'] and 'TF_ENABLE_ONEDNN_OPTS' not in found
  monkeypatch.setenv('TF_NUM_INTRAOP_THREADS', '7')
  monkeypatch.setenv('TF_ENABLE_ONEDNN_OPTS', '0')
  changed = surroundings.of(Options(jit='true'), 'ab' * 32)
  assert surroundings.differences(found, changed) == [
      f'threads: {found["threads"]} -> 7', '--deterministic: true -> false',
      'TF_ENABLE_ONEDNN_OPTS: not set -> 0']
  assert surroundings.differences(found, found) == []


@pytest.mark.parametrize('count', ['', '0', 'many', '-1', '\u00b2'])
def test_a_number_of_threads_that_is_none_is_not_in_force(
    plain_environment, monkeypatch, count):
  monkeypatch.setenv('TF_NUM_INTRAOP_THREADS', count)
  assert surroundings.of(Options(), '')['threads'] == str(
      len(os.sched_getaffinity(0)))


@pytest.mark.parametrize('text, cpu, vectors', [
    ('processor\t: 0\nmodel name\t: A CPU @ 2 GHz\nflags\t\t: fpu sse4_2 avx2 '
     'amx_bf16 rdtscp fma\n\nprocessor : 1\nmodel name : B\n',
     'A CPU @ 2 GHz', 'amx_bf16 avx2 fma sse4_2'),
    ('processor : 0\nFeatures : fp asimd sve2 i8mm\nCPU implementer : 0x41\n'
     'CPU part : 0xd40\n', '0x41 0xd40', 'asimd i8mm sve2'),
    ('', platform.machine(), ''), (None, platform.machine(), '')])
def test_the_cpu_is_the_first(tmp_path, monkeypatch, text, cpu, vectors):
  path = tmp_path / 'cpuinfo'
  if text is not None:
    path.write_text(text)
  monkeypatch.setattr(surroundings, '_CPUS', path)
  found = surroundings.of(Options(), '')
  assert (found['cpu'], found['vector instructions']) == (cpu, vectors)


def test_of_long_values_only_the_changes_are_shown():
  flags = [f'--xla_flag_number_{i}' for i in range(9)]
  before, now = ({'XLA_FLAGS': ' '.join(words)} for words in (
      flags, [*flags[:4], *flags[5:], '--xla_new']))
  assert surroundings.differences(before, now) == [
      'XLA_FLAGS: removed --xla_flag_number_4, added --xla_new']
  assert surroundings.differences(
      before, {'XLA_FLAGS': ' '.join(flags[::-1])}) == [
          'XLA_FLAGS: the same words in another order']


def test_versions_are_compared_too():
  values = {'versions': {'keras': '3.14'}, 'settings': {'threads': '2'}}
  assert description.settings(values) == {'keras': '3.14', 'threads': '2'}
  assert report.settings_text(['keras: 3.14 -> 3.15']) == (
      'continuing with other settings (keras: 3.14 -> 3.15): results may no '
      'longer be, to the last bit, those of a run that was never stopped')


def test_a_run_that_is_resumed_without_its_flags_is_told_which_to_give():
  begun, now = (surroundings.of(options, '') for options in (
      Options(jit='true', deterministic=True), Options()))
  text = report.settings_text(surroundings.differences(begun, now))
  assert text.startswith('continuing with other settings (--jit: true -> auto; '
                         '--deterministic: true -> false): results may no ')
  assert text.endswith(
      'never stopped; to continue as before, stop the run now and add '
      '--jit=true --deterministic=true to the command')
  # What an older version did not record is not known.
  assert 'stop the run' not in report.settings_text(
      ['--new: not set -> 0', 'TF_A: 1 -> 2', 'gpus: A -> B'])


_FLAGS = ('--config.model.width=4', '--config.train_epochs=0',
          '--config.train_steps=4', '--save_every_steps=2', '--keep_last=5',
          '--log_every_steps=1', '--eval_every_epochs=0',
          '--config.schedule.warmup_epochs=0')


def _forget(run, step):
  """Makes a finished run one that was killed after `step`."""
  for path in (run / 'checkpoints').iterdir():
    if int(path.name.split('-')[1].split('.')[0]) > step:
      path.unlink()
  path = run / 'run.json'
  values = json.loads(path.read_text())
  del values['summary']
  path.write_text(json.dumps(values))


@pytest.mark.slow
def test_a_resumed_run_says_what_has_changed(tmp_path):
  run = tmp_path / 'run'
  train = lambda *flags, **environment: processes.run(
      'resnet.train', *_FLAGS, f'--workdir={run}', *flags,
      environment=environment)
  assert train().code == 0
  _forget(run, 2)
  same = train()
  assert 'resuming at step 2' in same.err
  assert 'other settings' not in same.err and 'continuing on' not in same.err
  _forget(run, 2)
  other = train('--jit=false', TF_ENABLE_ONEDNN_OPTS='1')
  assert ('continuing with other settings (--jit: auto -> false; '
          'TF_ENABLE_ONEDNN_OPTS: not set -> 1): results may no longer'
      ) in other.err
  assert 'stop the run now and add --jit=auto to the command' in other.err
  # What is lost of run.json and metrics.jsonl is not needed.
  for content in (None, b'\0' * 100):
    for name in ('run.json', 'metrics.jsonl'):
      (run / name).unlink()
      if content:
        (run / name).write_bytes(content)
    again = train('--jit=false')
    assert again.code == 0 and 'resuming at step 4' in again.err, again.err
    assert '\nlast ' in again.out
    assert 'is not known' in again.err
    assert ('is damaged' in again.err) == bool(content)
    assert json.loads((run / 'run.json').read_text())['summary']['step'] == 4
    assert 'is finished' in train().out
