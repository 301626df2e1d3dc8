"""Each path flag of each program is a local path, or refused in one sentence.
"""
import pytest

_DATA_DIR = [
    'pipelines.benchmark', 'pipelines.prepare', 'pipelines.show',
    'resnet.evaluate', 'resnet.export', 'resnet.report',
    'resnet.tools.benchmark', 'resnet.tools.benchmark_augment',
    'resnet.tools.benchmark_gpu', 'resnet.tools.profile_step',
    'resnet.tools.survey', 'resnet.train']
# (program, flag, others): what is given before the flag and its path.
_FLAGS = [
    *((program, '--data_dir', ('--dataset=mnist',) * (
        program == 'pipelines.prepare')) for program in _DATA_DIR),
    ('pipelines.prepare', '--image_folder', ()),
    ('pipelines.prepare', '--labels', ('--image_folder=x',)),
    ('pipelines.show', '--output', ()),
    ('resnet.evaluate', '--output', ()),
    ('resnet.evaluate', '--workdir', ()),
    ('resnet.export', '--output', ()),
    ('resnet.export', '--workdir', ()),
    *(('resnet.predict', flag, ('--workdir=x', 'x.jpg')) for flag in (
        '--workdir', '--model', '--output', '--contact_sheet')),
    ('resnet.report', '--output', ()),
    ('resnet.report', '--workdir', ()),
    ('resnet.tools.benchmark', '--torch_python', ()),
    ('resnet.tools.benchmark_gpu', '--output', ()),
    ('resnet.tools.survey', '--workdir', ()),
    ('resnet.train', '--init_from', ()),
    ('resnet.train', '--workdir', ()),
    ('launch.local.__main__', '--log_dir', ('--workers=1',)),
    ('launch.local.__main__', '--workdir', ('--workers=1', '--')),
    ('launch.slurm.__main__', '--log_dir', ('--nodes=1',)),
    ('launch.slurm.__main__', '--workdir', ('--nodes=1', '--dry_run', '--')),
    ('launch.slurm.__main__', '--data_dir',
     ('--nodes=1', '--dry_run', '--', '--workdir=x')),
    ('launch.sweep.__main__', '--workdir', ('--seeds=1',)),
    ('launch.kubernetes.__main__', '--data_dir',
     ('--name=r', '--image=i', '--workers=2', '--workdir_claim=c', '--',
      '--workdir=/runs/r')),
]
_WRONG = {
    'gs': ('gs://bucket/run', '{flag}=gs://bucket/run is not a folder on this '
           'machine: mount the remote folder, or give a local path.'),
    's3': ('s3://bucket/run', 'is not a folder on this machine'),
    'file': ('file:///runs', 'is not a folder on this machine'),
    'hdfs': ('hdfs://host:9000/run', 'is not a folder on this machine'),
    'empty': ('', '{flag}= is empty: give a path.'),
    'home': ('~no-such-user/run', 'begins with ~no-such-user, but there is no'),
    'long': ('a/' + 'x' * 256, 'is too long: give a path of at most 4095 '),
    'line': ('line\nbreak', '{flag}=line?break has control characters'),
    'latin': ('caf\udce9', 'UTF-8'),
}
# Not known here: homes on a node, or in a pod. And what is said elsewhere.
_LEFT_OUT = [
    ('launch.kubernetes.__main__', '--data_dir', 'home'),
    ('launch.slurm.__main__', '--data_dir', 'home'),
    ('launch.slurm.__main__', '--workdir', 'empty')]
_CASES = {
    f'{program} {flag} {kind}': (program, flag, others, *_WRONG[kind])
    for program, flag, others in _FLAGS for kind in _WRONG
    if (program, flag, kind) not in _LEFT_OUT}


@pytest.mark.parametrize(
    'program, flag, others, path, words', _CASES.values(), ids=_CASES)
def test_a_wrong_path(refused, program, flag, others, path, words):
  assert words.format(flag=flag) in refused(program, *others, f'{flag}={path}')


@pytest.mark.parametrize('program', [
    'launch.sweep.__main__', 'pipelines.show', 'resnet.train'])
@pytest.mark.parametrize('path, words', [
    ('gs://bucket/run.py', 'is not a folder on this machine'),
    ('file:///run.py', 'is not a folder on this machine'),
    ('~no-such-user/run.py', 'but there is no home folder'),
    ('x' * 253 + '.py', 'is too long'), ('line\nbreak.py', 'control char'),
    ('caf\udce9.py', '--config=caf?.py is not UTF-8')],
    ids=['gs', 'file', 'home', 'long', 'line', 'latin'])
def test_a_wrong_path_of_a_recipe(refused, program, path, words):
  others = ['--seeds=1'] if 'sweep' in program else []
  assert words in refused(program, f'--config={path}', *others)


@pytest.mark.parametrize('path', ['/runs/../r', 'runs/r', 'gs://b/r', '/r'])
def test_run_folders_that_a_pod_would_lose(refused, path):
  assert f'--workdir={path} is not in /runs' in refused(
      'launch.kubernetes.__main__', '--name=r', '--image=i', '--workers=2',
      '--workdir_claim=c', '--', f'--workdir={path}')


@pytest.mark.parametrize('program, flags', [
    ('resnet.train', ['--workdir=~/run']), ('pipelines.show', ['--output=~/x']),
    ('launch.sweep.__main__', ['--seeds=1', '--workdir=~/x']),
    ('resnet.train', ['--data_dir=~']), ('resnet.train', ['--config=~/r.py'])])
def test_no_home(refused, program, flags):
  assert 'begins with ~, but there is no home folder: set HOME, or give an' in (
      refused(program, *flags, environ={'HOME': 'relative'}))
