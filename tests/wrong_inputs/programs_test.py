"""Wrong flags of each program, before it starts anything."""
import pytest

from tests.wrong_inputs import forks

_LARGE = '9' * 5000


@pytest.mark.parametrize('program', [
    program for program in forks.PROGRAMS
    if program != 'launch.doctor.__main__'])  # Passes on what it does not know.
@pytest.mark.parametrize('flag, words', [
    ('--no_such_flag=1', '--no_such_flag is unknown'),
    ('--hlep', '--hlep is unknown (did you mean --help or --helpfull'),
    ('--help=maybe', '--help=maybe is not allowed: give true or false'),
    ('--verbosity=loud', '--verbosity=loud is not allowed: give an integer'),
    ('--verbosity=2147483648', 'give an integer up to 2147483647.'),
    ('--stderrthreshold=loud', '--stderrthreshold must be one of'),
    ('--flagfile=no_such_file', 'no_such_file'),
    ('surplus', 'surplus'),
    ('caf\udce9', 'caf')])
def test_every_program(refused, program, flag, words):
  assert words in refused(program, flag)


_TRAIN = [
    ('--strategy=tpu', 'give one of one_device, mirrored, multi_worker_mirr'),
    ('--jit=maybe', 'give one of auto, true, false.'),
    ('--collectives=mpi', 'give one of auto, ring, nccl.'),
    ('--deterministic=maybe', 'give true or false.'),
    ('--check_crc=2', 'give true or false.'),
    ('--nocheck_crc=1', 'does not take an argument'),
    ('--log_every_steps=0', 'give an integer from 1 to 2147483647.'),
    ('--virtual_devices=1000000000', 'give an integer from 0 to 256.'),
    ('--virtual_devices=-1', 'give an integer from 0 to 256.'),
    ('--worker_port=65536', 'give an integer from 0 to 65535.'),
    ('--keep_last=0', 'give an integer from 1 to'),
    ('--max_mins=-1', 'give a number from 0 to'),
    ('--eval_every_epochs=', '--eval_every_epochs= is not allowed'),
    ('--memory_gib=1,5', '--memory_gib=1,5 is not allowed'),
    ('--workdir', 'Missing value for flag --workdir'),
    ('-- x', "'x' is not a flag"),
    (f'--steps_per_call={_LARGE}', 'is not allowed: give an integer'),
]
_EVALUATE = [
    ('', '--workdir is missing'),
    ('--workdir=x --checkpoint=²', '--checkpoint=² is unknown: give latest'),
    ('--workdir=x --checkpoint=٣', '--checkpoint=٣ is unknown'),
    ('--workdir=x --checkpoint=-1', '--checkpoint=-1 is unknown'),
    ('--workdir=x --checkpoint=1e3', '--checkpoint=1e3 is unknown'),
    ('--workdir=x --checkpoint=', '--checkpoint= is unknown'),
    ('--workdir=x --checkpoint=newest', '--checkpoint=newest is unknown'),
    (f'--workdir=x --checkpoint={_LARGE}', 'is unknown: give latest, best, or'),
    ('--workdir=x surplus', "'surplus' is not a flag"),
    ('--workdir=x --config=digits_resnet8', '--config is unknown'),
    ('--workdir=x --average_checkpoints=-1', 'give an integer from 0 to 1000.'),
    ('--workdir=x --average_checkpoints=5.0', 'give an integer from 0 to 1000'),
    ('--workdir=x --flip=maybe', '--flip=maybe is not allowed: give true or'),
    ('--workdir=x --details=2', '--details=2 is not allowed: give true or fa'),
    ('--workdir=x --output=', '--output= is empty: give a path.'),
]
_RUNS = [
    ('', 'runs does not exist: give the folder that holds run folders.'),
    ('nowhere', 'nowhere does not exist: give the folder'),
    ('/dev/null', '/dev/null is not a folder: give the folder'),
    ('.', 'There are no runs in .: give the folder that holds run folders'),
    ('a b', 'a b are 2 folders: give one folder, or --diff to compare two'),
    ('. --sort=accuracy', '--sort=accuracy is unknown: give one of run, state'),
    ('. --sort=', '--sort= is unknown: give one of run, state, step, total,'),
    ('. --csv=maybe', '--csv=maybe is not allowed: give true or false.'),
    ('--diff', '--diff compares two runs, but 0 paths were given: give --diff'),
    ('--diff a', '--diff compares two runs, but 1 path was given: give --diff'),
    ('--diff a b c d', '--diff compares two runs, but 4 paths were given'),
    ('--diff a b', '--diff: a is not a run folder: give two of the paths'),
    ('nowhere --diff a b', 'nowhere does not exist'),
    ('gs://bucket/runs', 'is not a folder on this machine'),
    ('~no-such-user/runs', 'but there is no home folder'),
    (f'{"x" * 256}', 'is too long: give a path of at most 4095'),
]
_EXPORT = [
    ('', '--workdir is missing'),
    ('--workdir=x', '--workdir=x is not a run folder'),
    ('--workdir=x --format=onxx', '--format=onxx is not allowed: give some of '
     'saved_model,keras,onnx,litert, separated by commas.'),
    ('--workdir=x --format=', '--format= is not allowed: give some of'),
    ('--workdir=x --precision=int8', '--precision=int8 is not allowed: give '
     'some of float32,float16, separated by commas.'),
    ('--workdir=x --weights=best', 'give one of evaluated, raw, average.'),
    ('--workdir=x --checkpoint=newest', '--checkpoint=newest is unknown'),
    ('--workdir=x --pictures=0', 'give an integer from 1 to 10000.'),
    ('--workdir=x surplus', "'surplus' is not a flag"),
]
_PREDICT = [
    ('', '--workdir is missing: give the folder that `python -m resnet.train` '
     'wrote, as in --workdir=RUN PICTURES.'),
    ('cat.jpg', 'as in --workdir=RUN cat.jpg.'),
    ('--workdir=x', 'There are no pictures to predict: name files, folders,'),
    ('--workdir=x --model=y cat.jpg', '--workdir=x and --model=y both name a'),
    ('--model=y --checkpoint=best cat.jpg', '--checkpoint is for --workdir'),
    ('--model=y --devices=CPU:0 cat.jpg', '--devices is for --workdir'),
    ('--workdir=x --checkpoint=newest cat.jpg', '--checkpoint=newest is unkn'),
    ('--workdir=x --top=0 cat.jpg', 'give an integer from 1 to 2147483647.'),
    ('--workdir=x --batch=0 cat.jpg', 'give an integer from 1 to 65536.'),
    ('--workdir=x --batch=65537 cat.jpg', 'give an integer from 1 to 65536.'),
    ('--workdir=x --format=xml cat.jpg', 'give one of csv, jsonl.'),
    ('--workdir=x --output=no/out.csv cat.jpg', 'there is no folder no: make'),
    ('--workdir=x --contact_sheet=. cat.jpg', '--contact_sheet=. is a folder'),
    ('--workdir=x .', 'There are no pictures (.jpg, .jpeg, .png, .bmp, .gif,'),
    ('--workdir=x -', '- reads the paths of pictures from stdin, one a line'),
    ('--workdir=x cat.jpg', '--workdir=x is not a run folder (there is no x/'),
]
_REPORT = [
    ('', '--workdir is missing'),
    ('--workdir=x', 'is not a run folder (there is no x/config.json)'),
    ('--workdir=x,y', '--workdir=x is not a run folder'),
    ('--workdir=x,', '--workdir= is empty: give a path.'),
    ('--workdir=x --parts=', '--parts= is not allowed: give some of '
     'curves,model,weights,images, separated by commas.'),
    ('--workdir=x --parts=curves,curve', '--parts=curves,curve is not allowed'),
    ('--workdir=x,y --parts=curves,model', '--parts=curves,model is for one '
     'run, but --workdir names 2: give --parts=curves, or one run.'),
    ('--workdir=x --parts=model --step=3', '--step=3 chooses the checkpoint'),
    ('--workdir=x,y --step=3', '--step=3 chooses the checkpoint'),
    ('--workdir=x --step=-1', 'give an integer from 0 to 2147483647.'),
    ('--workdir=x surplus', "'surplus' is not a flag"),
]
_LOCAL = [
    ('', '--workers is missing'),
    ('--workers=0', 'give an integer from 1 to 65536.'),
    ('--workers=100000', 'give an integer from 1 to 65536.'),
    ('--workers=65536', '--workers=65536 is too many for this machine'),
    ('--workers=65536 --dry_run', 'is too many for this machine'),
    ('--workers=2 --gpus_per_worker=1024', 'needs 2048 GPUs, but 0 can be'),
    ('--workers=2 --gpus_per_worker=1025', 'from 0 to 1024.'),
    ('--workers=2 --tee=2', '--tee=2 does not name workers'),
    ('--workers=2 --tee=²', '--tee=² does not name workers'),
    ('--workers=2 --tee=-1', '--tee=-1 does not name workers'),
    (f'--workers=2 --tee={_LARGE}', 'does not name workers'),
    ('--workers=2 --module=..', '--module=.. is not a Python module'),
    ('--workers=2 --module=.', '--module=. is not a Python module'),
    ('--workers=2 --module=', '--module= is not a Python module'),
    ('--workers=2 --module=a/b', '--module=a/b is not a Python module'),
    ('--workers=2 --module=a.b.', '--module=a.b. is not a Python module'),
    ('--workers=2 --module=resnet', '--module=resnet is not a Python module'),
    ('--workers=2 --module=caf\udce9', '--module=caf? is not a Python module'),
    ('--workers=2 --module=\u2029', 'is not a Python module'),
    ('--workers=2 --config=x', 'Put flags for the trainer after " -- ".'),
    ('--workers=2 --grace_secs=nan', '--grace_secs=nan is not allowed'),
]
_SLURM = [
    ('-- --workdir=x', '--nodes is missing'),
    ('--nodes=1', "The trainer's flags are missing"),
    ('--nodes=1 --', '--workdir is missing'),
    ('--nodes=1000000000000 -- --workdir=x', 'from 1 to 65536.'),
    ('--nodes=65536 --workers_per_node=2 -- --workdir=x', '131072 workers, '
     'and a group has at most 65536'),
    ('--nodes=1 --seeds=4000002 -- --workdir=x', 'from 0 to 4000001.'),
    ('--nodes=1 --time=soon -- --workdir=x', '--time=soon is not a time'),
    ('--nodes=1 --time=²:00 -- --workdir=x', '--time=²:00 is not a time'),
    (f'--nodes=1 --time={_LARGE} -- --workdir=x', 'is not a time limit'),
    ('--nodes=1 --time=1 -- --workdir=x', '--grace_secs=120 must be less'),
    ('--nodes=1 --sbatch=x -- --workdir=x', '--sbatch=x is not an option'),
    ('--nodes=1 --sbatch=--nodes=2 -- --workdir=x', 'use --nodes instead.'),
    ('--nodes=1 --python=" -- --workdir=x', 'cannot be split into words'),
    ('--nodes=1 --log_dir=a\\b -- --workdir=x', 'contains a backslash'),
    ('--nodes=1 --module=.. -- --workdir=x', '--module=.. is not a Python'),
    ('--nodes=1 -- --workdir=x --config=\udce9', 'is not valid UTF-8'),
    ('--nodes=1 --seeds=2 -- --workdir=x --config.seed=1', '--config.seed=1'),
]
_POD = '--name=r --image=i --workers=2 --workdir_claim=c'
_KUBERNETES = [
    ('-- --workdir=/runs/r', '--name is missing'),
    (_POD, "The trainer's flags are missing"),
    (f'{_POD} --', '--workdir is missing'),
    (f'{_POD} --workers=1000000000000 -- --workdir=/runs/r', 'to 65536.'),
    (f'{_POD} --workers=65536 --max_restarts=32768 -- --workdir=/runs/r',
     'the most that Kubernetes counts: give at most 32767 restarts.'),
    (f'{_POD} --name=R -- --workdir=/runs/r', '--name=R is not allowed'),
    (f'{_POD} --name=é -- --workdir=/runs/r', '--name=é is not allowed'),
    (f'{_POD} --name={"r" * 64} -- --workdir=/runs/r', 'shorten it by'),
    (f'{_POD} --image=\udce9 -- --workdir=/runs/r', '--image=? is not all'),
    (f'{_POD} --cpus={_LARGE} -- --workdir=/runs/r', 'give a number of CPUs'),
    (f'{_POD} --cpus=² -- --workdir=/runs/r', '--cpus=² is not allowed'),
    (f'{_POD} --cpus=nan -- --workdir=/runs/r', '--cpus=nan is not allowed'),
    (f'{_POD} --memory={_LARGE}Gi -- --workdir=/runs/r', 'give a size such'),
    (f'{_POD} --memory=-1Gi -- --workdir=/runs/r', '--memory=-1Gi is not'),
    (f'{_POD} --node_selector=a -- --workdir=/runs/r', 'give key=value'),
    (f'{_POD} --user=0 -- --workdir=/runs/r', '--user=0 is not allowed'),
    (f'{_POD} --kind=pod -- --workdir=/runs/r', 'job, jobset, tfjob.'),
    (f'{_POD} --workdir_mount=runs -- --workdir=/runs/r', 'is not allowed'),
    (f'{_POD} --workdir_mount=gs://b -- --workdir=/runs/r', 'is not a folder'),
    (f'{_POD} -- --workdir=/runs/\udce9', 'is not valid UTF-8'),
]
_SWEEP = [
    ('', '--sweep and --seeds are both missing'),
    ('--seeds=0', 'give an integer from 1 to 1000.'),
    ('--seeds=10000000', 'give an integer from 1 to 1000.'),
    ('--seeds=1000 --sweep=schedule.peak=0.1,0.2', '2000 runs, and a sweep'),
    (f'--sweep=seed={"1," * 999}1,2', '1001 runs, and a sweep has at most'),
    (f'--sweep=seed={"1," * 50000}1 --sweep=schedule.peak={"1," * 50000}1',
     '2500100001 runs, and a sweep has at most 1000'),
    ('--sweep=schedule.peak', 'is missing a value'),
    ('--sweep==', 'config. does not exist'),
    ('--sweep=schedule.peak=nan', 'config.schedule.peak=nan has the wrong'),
    ('--sweep=seed=4294967296', 'config.seed=4294967296 is out of range'),
    ('--sweep=seed=²', 'config.seed=² has the wrong type'),
    ('--sweep=model.name=caf\udce9', 'config.model.name='),
    ('--seeds=2 --launcher=ssh', 'give one of train, local, slurm'),
    ('--seeds=2 --launcher=local --launcher_flags="', 'cannot be split into'),
    ('--seeds=2 --config=missing.py', '--config=missing.py does not exist'),
    ('--seeds=2 -- --workdir=x', '--workdir after -- is not allowed'),
    ('--seeds=2 -- --config.sed=3', 'config.sed does not exist'),
]
_SHOW = [
    ('--rows=1000000000', '--rows=1000000000 is not allowed: give an integer '
     'from 2 to 1000.'),
    ('--columns=1000000000', 'give an integer from 1 to 1000.'),
    ('--rows=3', '--rows=3 is odd'), ('--rows=0', 'from 2 to 1000.'),
    ('surplus', "'surplus' is not a flag"),
]
_OTHERS = [
    ('pipelines.prepare', '', '--dataset is missing'),
    ('pipelines.prepare', '--dataset=mnist surplus', "'surplus' is not a flag"),
    ('pipelines.prepare', '--dataset=mnist --skip_bad_images', 'only applies'),
    ('pipelines.prepare', '--image_folder=nowhere', 'nowhere'),
    ('pipelines.benchmark', '--images=99', 'give an integer from 100 to'),
    ('pipelines.benchmark', '--repeat_data=1001', 'from 0 to 1000.'),
    ('launch.benchmark', '--workers=1000', 'needs one core for each worker'),
    ('launch.benchmark', '--steps=19', 'give an integer from 20 to'),
    ('resnet.tools.benchmark', '--block_secs=nan', 'give a number from 0 to'),
    ('resnet.tools.benchmark', '--rounds=0', 'give an integer from 1 to'),
    ('resnet.tools.benchmark_gpu', '--parts=steps,step', '--parts=steps,step '
     'is not allowed: give some of steps,loop,'),
    ('resnet.tools.benchmark_gpu', '--parts=', 'give some of steps,loop,'),
    ('resnet.tools.benchmark_gpu', '--batches=128,0',
     '--batches=128,0 is not allowed: give numbers from 1 to 65536'),
    ('resnet.tools.benchmark_gpu', '--batches=', 'give numbers from 1 to'),
    ('resnet.tools.benchmark_gpu', '--max_mins=-1', 'give a number from 0 to'),
    ('resnet.tools.benchmark_gpu', '--config.data.name=pets '
     '--config=cifar10_resnet20', 'config.data.name=pets is not a data set'),
    ('resnet.tools.benchmark_gpu', '--output=no/folder/x.json',
     'no/folder/x.json cannot be written'),
    ('resnet.tools.profile_step', '--steps=0', 'give an integer from 1 to'),
    ('launch.doctor.__main__', '--wait_secs=nan', '--wait_secs=nan is not'),
    ('launch.doctor.__main__', '--wait_secs=1e300', 'from 0 to 1000000000.'),
]
_CASES = [
    *(('resnet.train', *case) for case in _TRAIN),
    *(('resnet.tools.survey', *case) for case in _TRAIN),
    *(('resnet.evaluate', *case) for case in _EVALUATE),
    *(('resnet.export', *case) for case in _EXPORT),
    *(('resnet.predict', *case) for case in _PREDICT),
    *(('resnet.report', *case) for case in _REPORT),
    *(('resnet.runs', *case) for case in _RUNS),
    *(('launch.local.__main__', *case) for case in _LOCAL),
    *(('launch.slurm.__main__', *case) for case in _SLURM),
    *(('launch.kubernetes.__main__', *case) for case in _KUBERNETES),
    *(('launch.sweep.__main__', *case) for case in _SWEEP),
    *(('pipelines.show', *case) for case in _SHOW),
    *_OTHERS]


@pytest.mark.parametrize(
    'program, line, words', _CASES,
    ids=[f'{program} {line[:60]}' for program, line, _ in _CASES])
def test_one_program(refused, program, line, words):
  assert words in refused(program, *line.split(' ') if line else ())
