"""What it costs that workers train together, on one core each.

  python -m launch.benchmark --workers=2 -- \\
      --config=fashion_mnist_resnet20 --data_dir=DIR

In turn, so many rounds: one process alone, on the first core; as many of these
as there are workers, on a core each, that know nothing of each other; and the
workers, together. Each trains on --worker_batch images a step. What stands
after -- is for `python -m resnet.train`. CPUs alone.

Exit codes: 0 done; 2 an error of the user's, in one sentence; 1 a process
failed, and what it printed is shown.
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from absl import flags

from configs.process import command_line
from configs.process.errors import UserError
from launch import trainer_command
from launch.local import worker_environment

_WAYS = ('alone', 'apart', 'together')
_FAILURE = 1


def parse(argv):
  """Defines and reads the flags; returns the trainer's, which follow --."""
  flags.DEFINE_integer('workers', 2, 'Worker processes.', lower_bound=1)
  flags.DEFINE_integer('worker_batch', 64, 'Images of each a step.',
                       lower_bound=1)
  flags.DEFINE_integer('steps', 60, 'Of each run; the first tenth is not '
                       'counted.', lower_bound=20)
  flags.DEFINE_integer('rounds', 5, 'Of all three.', lower_bound=1)
  return trainer_command.parse(argv)


def main(trainer_flags):
  """Runs it and prints the table; returns the exit code."""
  values = flags.FLAGS
  cores = sorted(os.sched_getaffinity(0))[:values.workers]
  if len(cores) < values.workers:
    raise UserError(
        f'--workers={values.workers} needs a core for each, and there are '
        f'{len(cores)} here: give fewer.')
  speeds = {way: [] for way in _WAYS}
  for index in range(values.rounds):
    for way in _WAYS:
      try:
        speed = _measure(way, cores, values.worker_batch, values.steps,
                         trainer_flags)
      except subprocess.CalledProcessError as error:
        print(error.output, end='', file=sys.stderr)
        if error.returncode in command_line.ALL_PERMANENT:
          return error.returncode
        return _FAILURE
      speeds[way].append(speed)
    print(f'round {index + 1} of {values.rounds}: ' + ', '.join(
        f'{way} {speeds[way][-1]:.1f}' for way in _WAYS) + ' images/s',
          flush=True)
  print(_table(speeds, values.workers, values.worker_batch))
  return command_line.DONE


def _measure(way, cores, worker_batch, steps, trainer_flags):
  """Images/s of all processes of one way, added up.

  Raises:
    subprocess.CalledProcessError: one of them failed.
  """
  if way == 'alone':
    cores = cores[:1]
  together = way == 'together'
  global_batch = worker_batch * (len(cores) if together else 1)
  environ = os.environ | dict.fromkeys(worker_environment.THREADS, '1')
  environments = worker_environment.of_workers(
      worker_environment.free_ports(len(cores)), 0, [], environ)
  with tempfile.TemporaryDirectory() as folder:
    # Workers that are together have one run folder.
    workdirs = [pathlib.Path(folder, f'{0 if together else rank}')
                for rank in range(len(cores))]
    command = [
        sys.executable, '-m', 'resnet.train', *trainer_flags,
        '--strategy=' + ('multi_worker_mirrored' if together else 'one_device'),
        f'--config.global_batch={global_batch}',
        '--config.train_epochs=0', f'--config.train_steps={steps}',
        f'--log_every_steps={steps // 10}', '--eval_every_epochs=0',
        '--save_every_secs=0']
    processes = [
        subprocess.Popen(
            [*command, f'--workdir={workdir}'], env=environ | variables,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            preexec_fn=lambda core=core: os.sched_setaffinity(0, {core}))
        for core, variables, workdir in zip(cores, environments, workdirs)]
    try:
      printed = [process.communicate()[0] for process in processes]
    finally:
      for process in processes:
        process.kill()
    for process, text in zip(processes, printed):
      if process.returncode:
        raise subprocess.CalledProcessError(
            process.returncode, command, output=text)
    return sum(map(_images_per_second, set(workdirs)))


def _images_per_second(workdir):
  """Median of the log points of a run, without the first."""
  records = map(json.loads, (workdir / 'metrics.jsonl').open())
  return statistics.median(
      [r['images_per_second'] for r in records if r['split'] == 'train'][1:])


def _table(speeds, workers, worker_batch):
  """The medians, with the least and the most of all rounds."""
  alone, apart, together = (speeds[way] for way in _WAYS)
  rows = [
      (f'one worker of {worker_batch} images a step, one core', alone, '.1f'),
      (f'{workers} that know nothing of each other', apart, '.1f'),
      (f'{workers} that train together', together, '.1f'),
      (f'together / {workers} x one, round by round',
       [t / (workers * a) for t, a in zip(together, alone)], '.3f'),
      ('together / apart, round by round',
       [t / a for t, a in zip(together, apart)], '.3f')]
  head = f'images/s, median of {len(alone)} rounds [least, most]:'
  return '\n'.join([head, *(
      f'  {what:<48} {statistics.median(values):{form}} '
      f'[{min(values):{form}}, {max(values):{form}}]'
      for what, values, form in rows)])


def run():
  """What the installed command calls."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
