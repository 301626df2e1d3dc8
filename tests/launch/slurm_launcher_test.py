"""python -m launch.slurm as its users run it, without a cluster."""
import os
import pathlib
import re
import subprocess
import sys

import pytest

from launch.slurm import checks

_ROOT = pathlib.Path(__file__).parents[2]


def _run(*argv, cwd, **environ):
  """Returns (exit code, stdout, stderr) of `python -m launch.slurm argv`."""
  done = subprocess.run(
      [sys.executable, '-m', 'launch.slurm', *argv], cwd=cwd, text=True,
      env={**os.environ, 'PYTHONPATH': f'{_ROOT}', **environ},
      capture_output=True, check=False, timeout=60)
  return done.returncode, done.stdout, done.stderr


def _with_sbatch(folder, code):
  """Returns a PATH with an sbatch that keeps its arguments and its input."""
  path = folder / 'bin' / 'sbatch'
  path.parent.mkdir()
  path.write_text(f'#!/bin/sh\necho "$*" > {folder}/argv\n'
                  f'cat > {folder}/script\n{code}\n')
  path.chmod(0o755)
  return f'{path.parent}:{os.environ["PATH"]}'


_TRAINER = ('--', '--config=x', '--workdir=RUN')


def test_a_job_is_submitted(tmp_path):
  path = _with_sbatch(tmp_path, 'echo "12;cluster"; echo "sbatch: hm" >&2')
  code, out, err = _run('--nodes=3', '--workers_per_node=2', *_TRAINER,
                        cwd=tmp_path, PATH=path)
  assert (code, err) == (0, 'sbatch: hm\n')
  assert out == f"""\
submitted job 12 (3 nodes, 6 workers)
log:         tail -F {tmp_path}/runs/logs/RUN-12.log
TensorBoard: tensorboard --logdir=RUN
state:       squeue --jobs=12
stop:        scancel 12
"""
  assert (tmp_path / 'argv').read_text() == '--parsable\n'
  assert (tmp_path / 'runs/logs').is_dir()
  _, shown, _ = _run('--nodes=3', '--workers_per_node=2', '--dry_run',
                     *_TRAINER, cwd=tmp_path)
  assert (tmp_path / 'script').read_text() == shown


def test_test_only_and_dry_run_leave_nothing(tmp_path):
  path = _with_sbatch(tmp_path, 'echo "sbatch: Job 3 to start at noon" >&2')
  code, out, err = _run('--nodes=1', '--test_only', *_TRAINER, cwd=tmp_path,
                        PATH=path)
  assert (code, out, err) == (0, 'sbatch: Job 3 to start at noon\n', '')
  assert (tmp_path / 'argv').read_text() == '--test-only\n'
  code, _, _ = _run('--nodes=1', '--dry_run', *_TRAINER, cwd=tmp_path, PATH='')
  assert code == 0
  assert not (tmp_path / 'runs').exists()


def _script(tmp_path, *argv):
  code, out, err = _run('--nodes=1', '--dry_run', *argv, cwd=tmp_path)
  assert (code, err) == (0, '')
  checked = subprocess.run(['bash', '-n'], input=out, text=True, check=True,
                           capture_output=True)
  assert not checked.stderr
  return out


def _words(script, name='command'):
  """Returns the words of an array of the script, as bash reads them."""
  text = re.search(rf'^{name}=\(\n.*?^\)$', script, re.DOTALL | re.MULTILINE)[0]
  done = subprocess.run(
      ['bash', '-c', f'{text}\nprintf "%s\\0" "${{{name}[@]}}"'], text=True,
      capture_output=True, check=True, env={'SLURM_ARRAY_TASK_ID': '4'})
  return done.stdout.split('\0')[:-1]


def test_the_command_of_workers(tmp_path):
  given = ["--config=it's", '--workdir', 'a b', '$HOME', '--', '']
  assert _words(_script(tmp_path, '--', *given)) == [
      sys.executable, '-P', '-m', 'resnet.train',
      '--strategy=multi_worker_mirrored', *given]
  assert _words(_script(
      tmp_path, '--python=apptainer exec "my image" python', '--module=none',
      '--', '--workdir=w', '--strategy=mirrored')) == [
          'apptainer', 'exec', 'my image', 'python', '-P', '-m', 'none',
          '--workdir=w', '--strategy=mirrored']


def _run_as_job(tmp_path, script):
  """Returns (exit code, output) of a script whose srun runs one worker."""
  path = tmp_path / 'bin' / 'srun'
  path.parent.mkdir()
  path.write_text('#!/bin/bash\nwhile [ "$1" != bash ]; do shift; done\n'
                  'SLURM_PROCID=0 exec "$@"\n')
  path.chmod(0o755)
  environ = {**os.environ, 'SLURM_JOB_ID': '7', 'SLURM_JOB_NODELIST': 'n1',
             'PATH': f'{path.parent}:{os.environ["PATH"]}'}
  environ.pop('PYTHONPATH', None)
  done = subprocess.run(
      ['bash'], input=script, cwd=tmp_path, env=environ, text=True,
      check=False, timeout=120, stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT)
  return done.returncode, done.stdout


def _hide_the_project(folder):
  """Makes modules of the project's names, each of which says so."""
  for name in ('resnet.py', 'pipelines.py'):
    (folder / name).write_text('print("hidden")')
  for name in ('configs', 'launch'):
    (folder / name).mkdir()
    (folder / name / '__init__.py').write_text('print("hidden")')


def test_files_where_a_job_is_submitted_do_not_hide_the_project(tmp_path):
  script = _script(tmp_path, '--', '--workdir=w', '--no_such_flag')
  _hide_the_project(tmp_path)
  code, out = _run_as_job(tmp_path, script)
  assert code == 2 and '--no_such_flag is unknown' in out
  assert 'hidden' not in out


def test_a_module_where_a_job_is_submitted_uses_the_project(tmp_path):
  (tmp_path / 'mine.py').write_text(
      'import configs, resnet\nprint(configs.__file__, resnet.__file__)')
  script = _script(tmp_path, '--module=mine', '--', '--workdir=w')
  _hide_the_project(tmp_path)
  code, out = _run_as_job(tmp_path, script)
  assert code == 0, out
  assert f'{_ROOT}/configs/__init__.py {_ROOT}/resnet/__init__.py\n' in out
  assert 'hidden' not in out


@pytest.mark.parametrize('given', [
    ['--workdir=/a/b', '--x'], ['--workdir', '/a/b', '--x'],
    ['-workdir=/c', '--x', '--workdir=/a/b']])
def test_each_seed_has_its_own_folder(tmp_path, given):
  words = _words(_script(tmp_path, '--seeds=5', '--', *given))
  assert words[5:] == ['--x', '--workdir=/a/b/seed_4', '--config.seed=4']


@pytest.mark.parametrize('workdir, name', [
    ('/runs/r50', 'r50'), ('/runs/r 50/', 'r_50'), ('.', '.'), ('/', 'resnet'),
    ('--x', 'x'), ('a/%j$x', '_j_x')])
def test_a_job_is_named_after_its_run_folder(tmp_path, workdir, name):
  script = _script(tmp_path, '--', f'--workdir={workdir}')
  assert script.splitlines()[1] == f'#SBATCH --job-name={name}'


@pytest.mark.parametrize('time, secs', [
    ('90', 5400), ('1:30', 90), ('2:0:5', 7205), ('1-0', 86400),
    ('1-2', 93600), ('1-2:3', 93780), ('1-2:3:4', 93784), ('x', None),
    ('1:2:3:4', None), ('', None), ('-1', None), ('1-', None)])
def test_time_limits_are_read_as_the_manual_of_sbatch_says(time, secs):
  assert checks.secs(time) == secs


@pytest.mark.parametrize('flags, words', [
    (['--nodes=0'], ['--nodes=0', 'give an integer from 1 to 65536']),
    (['--nodes=1000000000000'], ['--nodes=1000000000000', '65536']),
    (['--nodes=300', '--workers_per_node=300'],
     ['--nodes=300 with --workers_per_node=300 are 90000 workers', '65536']),
    (['--nodes=two'], ['--nodes=two']),
    (['--nodes=1', '--gpus_per_worker=-1'], ['--gpus_per_worker=-1']),
    (['--nodes=1', '--workers_per_node=0'], ['--workers_per_node=0']),
    (['--nodes=1', '--time=soon'], ['--time=soon is not a time limit: give']),
    (['--nodes=1', f'--time={"9" * 5000}'], ['is not a time limit: give']),
    (['--nodes=1', '--time=٣'], ['--time=٣ is not a time limit: give']),
    (['--nodes=1', '--time=2'],
     ['--grace_secs=120 must be less than --time=2, which is 120 s: raise']),
    (['--nodes=1', '--grace_secs=0'], ['--grace_secs=0']),
    (['--nodes=1', '--max_restarts=-1'], ['--max_restarts=-1']),
    (['--nodes=1', '--seeds=-1'], ['--seeds=-1']),
    (['--nodes=1', '--sbatch=partition=gpu'],
     ['--sbatch=partition=gpu is not an option of sbatch: give options with']),
    (['--nodes=1', '--sbatch='], ['--sbatch= is not an option']),
    (['--nodes=1', '--sbatch=--time=5'],
     ['--sbatch=--time=5 is set by the launcher itself: use --time instead.']),
    (['--nodes=1', '--sbatch=-N 4'], ['-N 4 is set', 'use --nodes instead.']),
    (['--nodes=1', '--sbatch=-N4'], ['-N4 is set', 'use --nodes instead.']),
    (['--nodes=1', '--sbatch=--gpus-per-node=2'],
     ['is set by the launcher', 'use --gpus_per_worker instead.']),
    (['--nodes=1', '--sbatch=-n 8'], ['use --workers_per_node instead.']),
    (['--nodes=1', '--python="a'], ['--python="a cannot be split into words']),
    (['--nodes=1', '--python='], ['--python= is empty: give the command']),
    (['--nodes=1', '--sbatch=--requeue'], ['--requeue is', 'leave it out.']),
    (['--nodes=1', '--sbatch=--comment=a\nb'],
     ["'--comment=a\\nb' contains char"]),
    (['--nodes=1', '--log_dir=a\\b'], ['--log_dir=a\\b contains a backslash']),
    (['--nodes=1', '--module=no_such'], ['--module=no_such is not a Python']),
    (['--nodes=1', '--config=x'],
     ['--config is unknown', 'trainer after " -- "']),
    (['--nodes=1', 'surplus'], ["'surplus' is not a flag"]),
    (['--nodes=1', '--log_dir=/proc/none'], ['--log_dir=/proc/none cannot be']),
])
def test_wrong_flags_are_refused(tmp_path, flags, words):
  path = _with_sbatch(tmp_path, '')
  _assert_refused(_run(*flags, *_TRAINER, cwd=tmp_path, PATH=path), words)
  assert not (tmp_path / 'script').exists()


@pytest.mark.parametrize('argv, words', [
    ([*_TRAINER], '--nodes is missing: say how many'),
    (['--nodes=1'], "The trainer's flags are missing: give them after"),
    (['--nodes=1', '--config=x'], '--config is unknown'),
    (['--nodes=1', '--'], '--workdir is missing after " -- ": give'),
    (['--nodes=1', '--', '--config=x', '--workdir='], '--workdir is missing'),
    (['--nodes=1', '--', '--workdir'], '--workdir is missing'),
    (['--nodes=1', '--', '--workdir=gs://b/x'],
     '--workdir=gs://b/x is not a folder on this machine: mount'),
    (['--nodes=1', '--', '--workdir=x', '--data_dir=s3://b'],
     '--data_dir=s3://b is not a folder on this machine: mount'),
    (['--nodes=1', '--log_dir=gs://b/x', '--', '--workdir=x'],
     '--log_dir=gs://b/x is not a folder on this machine: mount'),
    (['--nodes=1', '--seeds=2', '--', '--workdir=x', '--config.seed=1'],
     '--seeds=2 sets --config.seed, but --config.seed=1 was given too: leave'),
])
def test_missing_flags_are_refused(tmp_path, argv, words):
  _assert_refused(_run(*argv, cwd=tmp_path), [words])


def _assert_refused(ended, words):
  code, out, err = ended
  assert (code, out, err.count('\n')) == (2, '', 1), err
  assert err.startswith('error: ') and err.endswith('.\n')
  for word in words:
    assert word in err


def test_flags_that_are_not_utf_8_are_refused(tmp_path):
  ended = _run('--nodes=1', *_TRAINER, os.fsdecode(b'--x=\xff'), cwd=tmp_path)
  _assert_refused(
      ended, ["The trainer's flag '--x=\\udcff' is not valid UTF-8"])


def test_a_time_limit_of_0_is_passed_on(tmp_path):
  assert '\n#SBATCH --time=0\n' in _script(tmp_path, '--time=0', *_TRAINER)


def test_a_missing_sbatch_is_an_error(tmp_path):
  ended = _run('--nodes=1', *_TRAINER, cwd=tmp_path, PATH='')
  _assert_refused(ended, ['sbatch cannot be started (No such file', 'login'])


@pytest.mark.parametrize('option', [[], ['--test_only']])
def test_what_sbatch_rejects_is_quoted(tmp_path, option):
  path = _with_sbatch(tmp_path, """
echo "sbatch: error: invalid partition specified: x" >&2
echo "sbatch: error: Batch job submission failed: Invalid partition" >&2
exit 1""")
  ended = _run('--nodes=1', *option, *_TRAINER, cwd=tmp_path, PATH=path)
  _assert_refused(ended, [
      'sbatch rejected the job ("invalid partition specified: x Batch job '
      'submission failed: Invalid partition"): fix'])


def test_no_tensorflow_is_imported(tmp_path):
  (tmp_path / 'tensorflow.py').write_text('raise SystemExit("imported")')
  code, _, err = _run('--nodes=1', '--dry_run', *_TRAINER, cwd=tmp_path,
                      PYTHONPATH=f'{tmp_path}:{_ROOT}')
  assert (code, err) == (0, '')
