"""`python -m launch.kubernetes` refuses wrong flags in one sentence."""
import pytest

from tests.launch import kubernetes_command as command


def _with(*flags):
  """Returns the required flags and others; --name= leaves out a flag."""
  names = [flag.partition('=')[0] for flag in flags]
  return [*(flag for flag in command.NEEDED
            if flag.partition('=')[0] not in names),
          *(flag for flag in flags if not flag.endswith('='))]


_LONG = 'r' * 52  # With '-tensorboard', 64.


@pytest.mark.parametrize('flags, words', [
    (_with('--name='), ['--name is missing']),
    (_with('--image='), ['--image is missing']),
    (_with('--workers='), ['--workers is missing']),
    (_with('--workdir_claim='), ['--workdir_claim is missing']),
    (_with('--workers=0'),
     ['--workers=0', 'give an integer from 1 to 65536']),
    (_with('--workers=1000000000000'), ['--workers=1000000000000', '65536']),
    (_with('--gpus_per_worker=1025'), ['--gpus_per_worker=1025', '1024']),
    (_with('--workers=2', '--max_restarts=2000000000'),
     ['most that Kubernetes counts: give at most 1073741823 restarts']),
    (_with('--workers=two'), ['--workers=two']),
    (_with('--gpus_per_worker=-1'), ['--gpus_per_worker=-1']),
    (_with('--kind=pod'), ['--kind=pod', 'job, jobset, tfjob']),
    (_with('--name=R50'),
     ['--name=R50 is not', 'give a name made of a-z, 0-9 and - ']),
    (_with('--name=5r'), ['--name=5r is not']),
    (_with('--name=r-'), ['--name=r- is not']),
    (_with('--name=r.50'), ['--name=r.50 is not']),
    (_with(f'--name={_LONG}'), [f'use {_LONG}-tensorboard: shorten it by 1.']),
    (_with(f'--name={"r" * 62}', '--notensorboard'),
     ['r-3: shorten it by 1.']),
    (_with(f'--name={"r" * 61}', '--workers=11', '--notensorboard'),
     ['allows 63 characters', 'r-10: shorten it by 1.']),
    (_with(f'--name={"r" * 47}', '--kind=jobset'),
     ['r-worker-0-3-xxxxx: shorten it by 1.']),
    (_with(f'--name={"r" * 55}', '--kind=tfjob', '--notensorboard'),
     ['r-worker-3: shorten it by 1.']),
    (_with('--image=a b'), ['--image=a b is not', 'give the name of an image']),
    (_with('--cpus=0'), ['--cpus=0 is not', '500m']),
    (_with('--cpus=4Gi'), ['--cpus=4Gi is not']),
    (_with(f'--cpus={"9" * 500}'), ['is not allowed: give a number of CPUs']),
    (_with('--cpus=٣'), ['--cpus=٣ is not']),
    (_with('--cpus=0.0001'), ['--cpus=0.0001 is not']),
    (_with('--memory=64'), ['--memory=64 is not', '64Gi']),
    (_with('--memory=64GB'), ['--memory=64GB is not']),
    (_with('--memory=512m'), ['--memory=512m is not']),
    (_with('--memory=0Gi'), ['--memory=0Gi is not']),
    (_with('--node_selector=gpu'),
     ['--node_selector=gpu is not', 'give key=value']),
    (_with('--node_selector=a=b,c=d=e'), ['--node_selector=c=d=e is not']),
    (_with('--user=0'), ['--user=0']),
    (_with('--max_restarts=-1'), ['--max_restarts=-1']),
    (_with('--grace_secs=0'), ['--grace_secs=0']),
    (_with('--workdir_claim=a_b'), ['--workdir_claim=a_b is not']),
    (_with('--data_claim=A'), ['--data_claim=A is not']),
    (_with('--workdir_mount=runs'), ['--workdir_mount=runs is not']),
    (_with('--workdir_mount=/'), ['--workdir_mount=/ is not']),
    (_with('--workdir_mount=/runs/..'), ['--workdir_mount=/runs/.. is not']),
    (_with('--workdir_mount=/runs/'), ['--workdir_mount=/runs/ is not']),
    (_with('--data_claim=a', '--data_mount=/runs'),
     ['--data_mount=/runs is already in use']),
    (_with('--workdir_mount=/tmp'), ['--workdir_mount=/tmp is already in use']),
    (_with('--data_claim=a', '--data_mount=/dev/shm'),
     ['/dev/shm is already in use']),
    (_with('--data_claim=a'), ['--data_dir is missing after --', '/data']),
    (_with('--workdir_mount=/r'), ['--workdir=/runs/r50 is not in /r', 'lost']),
    (_with('--workdir_mount=/runs/r5'), ['--workdir=/runs/r50 is not in']),
    (_with('surplus'), ["'surplus' is not a flag"]),
    (_with('--config=x'),
     ['--config is unknown', 'Put flags for the trainer after " -- ".']),
    (_with('--kind=tfjob', '--workers=1'), ['no TF_CONFIG', '--kind=job']),
])
def test_wrong_flags_are_refused(flags, words):
  _assert_refused([*flags, '--', *command.TRAINER], words)


@pytest.mark.parametrize('trainer, words', [
    ([], ["The trainer's flags are missing", ' -- ']),
    (['--'], ['--workdir is missing after --', '/runs']),
    (['--', '--workdir'], ['--workdir is missing after --']),
    (['--', '--workdir=runs/r50'], ['--workdir=runs/r50 is not in /runs']),
    (['--', '--workdir', '/tmp/a'], ['--workdir=/tmp/a is not in /runs']),
    (['--', '-workdir=/runs/../a'], ['--workdir=/runs/../a is not in /runs']),
    (['--', '--workdir=/runs/a', '--workdir=/a'], ['--workdir=/a is not in']),
    (['--', '--workdir=gs://b/a'], ['--workdir=gs://b/a is not in /runs']),
    (['--', '--workdir=/runs/a', '--data_dir=gs://b/a'],
     ['--data_dir=gs://b/a is not a folder on this machine']),
    (['--', '--workdir=/runs/a', '--data_dir'], ['--data_dir= is empty']),
    (['--', '--workdir=/runs/a\udcff'], ['is not valid UTF-8']),
    (['--', '--workdir=/runs/a\n'], ['--workdir=/runs/a? has control char']),
])
def test_runs_that_would_be_lost_are_refused(trainer, words):
  _assert_refused([*command.NEEDED, *trainer], words)


def _assert_refused(argv, words):
  code, out, err = command.run(*argv)
  assert (code, out, err.count('\n')) == (2, '', 1), err
  assert err.startswith('error: ') and err.endswith('.\n')
  for word in words:
    assert word in err


@pytest.mark.parametrize('flags', [
    (f'--name={_LONG[:-1]}',), (f'--name={"r" * 61}', '--notensorboard'),
    (f'--name={"r" * 46}', '--kind=jobset'),
    (f'--name={"r" * 54}', '--kind=tfjob', '--notensorboard'),
    ('--kind=tfjob', '--workers=2'), ('--workers=1',),
    ('--kind=jobset', '--workers=1'),
    ('--workdir_mount=/runs/r50',), ('--cpus=1.5',), ('--memory=2G',)])
def test_limits_are_inclusive(flags):
  code, _, err = command.run(*_with(*flags), '--', *command.TRAINER)
  assert (code, err) == (0, '')
