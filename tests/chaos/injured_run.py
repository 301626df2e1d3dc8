"""A small training run under the launcher, to be watched and injured."""
import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from typing import NamedTuple
import uuid

from resnet.distribution import heartbeats
from resnet.run.events import tags

_ROOT = pathlib.Path(__file__).parents[2]
_STEPS = 240
_FLAGS = (
    '--config.model.width=4', '--config.global_batch=16',
    '--config.train_epochs=0', f'--config.train_steps={_STEPS}',
    '--config.schedule.warmup_epochs=0.05', '--config.eval_batch=100',
    '--log_positions', '--log_every_steps=5', '--eval_every_steps=40',
    '--save_every_steps=9', '--save_every_secs=0',
    '--heartbeat_secs=3', '--start_secs=30')
_DISK_MIB = 64


class Disk(NamedTuple):
  """Where run folders are."""
  path: pathlib.Path
  is_small: bool  # Whether it is a small disk of its own, to be filled.


@contextlib.contextmanager
def small_disk(path):
  """Yields a Disk for as long as the block lasts."""
  path.mkdir(parents=True)
  image = path.with_suffix('.img')
  with image.open('wb') as file:
    file.truncate(_DISK_MIB * 2**20)
  # ext4 rather than tmpfs: it can be frozen.
  mounted = not any(subprocess.run(
      command, check=False, capture_output=True).returncode for command in (
          ['mkfs.ext4', '-q', '-m', '0', image],
          ['mount', '-o', 'loop', image, path]))
  try:
    yield Disk(path, mounted)
  finally:
    if mounted:
      subprocess.run(['umount', '--lazy', path], check=False)


class Run:
  """A run and its launcher, which can be restarted."""

  def __init__(self, folder, disk, workers):
    """Args: a new folder for logs; Disk; number of workers."""
    folder.mkdir()
    self.folder, self.disk, self.workers = folder, disk, workers
    self.workdir = disk.path / folder.name
    self.launcher = None
    self.damaged_lines = 0  # Of metrics.jsonl, by injuries.
    self._mark = uuid.uuid4().hex
    self._said = folder / 'launcher.txt'

  def start(self, environment=None):
    """Starts the launcher, which starts the workers.

    Args:
      environment: {name: value} for a start that must fail, and is not to be
        repeated by the launcher.
    """
    restarts = 0 if environment else 1000
    with self._said.open('ab') as said:
      self.launcher = subprocess.Popen(
          [sys.executable, '-m', 'launch.local', f'--workers={self.workers}',
           f'--max_restarts={restarts}', '--grace_secs=10',
           f'--log_dir={self.folder}/logs', '--', *_FLAGS,
           f'--workdir={self.workdir}'], cwd=_ROOT, stdout=said, stderr=said,
          env={**os.environ, 'RESNET_TEST_MARK': self._mark,
               **(environment or {})})

  def environment_of_unreadable_checkpoints(self):
    """Compiles what makes checkpoints unreadable; returns {name: value}."""
    library = self.folder / 'failing_open.so'
    source = pathlib.Path(__file__).with_name('failing_open.c')
    subprocess.run(['cc', '-shared', '-fPIC', '-o', library, source, '-ldl'],
                   check=True)
    return {'LD_PRELOAD': os.fspath(library)}

  @property
  def done(self):
    """Whether the launcher has exited with 0."""
    return self.launcher.poll() == 0

  @property
  def ended(self):
    return self.launcher.poll() is not None

  @property
  def finished(self):
    """Whether the trainer has marked the run as finished."""
    path = self.workdir / 'run.json'
    return path.exists() and 'summary' in json.loads(path.read_text())

  def ended_by_guard(self):
    """Whether the launcher took the injuries for a crash loop."""
    last = self._said.read_text().rstrip().rpartition('\n')[2]
    return 'attempts in a row ended within' in last

  def wait(self, secs, may_last=False):
    """Waits for the launcher; raises TimeoutError unless it may last."""
    try:
      self.launcher.wait(secs)
    except subprocess.TimeoutExpired as error:
      if not may_last:
        raise TimeoutError(f'{self.folder}: not done in {secs} s') from error

  def wait_until_training(self, secs, but=None):
    """Waits until rank 0 has trained in a process other than `but`, or ended.

    Raises:
      TimeoutError: neither happens within `secs` seconds.
    """
    end = time.monotonic() + secs
    seen = None
    while not self.ended:
      beat = self.beat()
      if (beat and beat['pid'] != but and beat['phase'] == 'training'
          and beat['pid'] in self.pids().values()):
        # The first step is begun with tracing, and the next with the first
        # one done.
        now = beat['pid'], beat['step']
        if seen and now != seen and now[0] == seen[0]:
          return
        seen = now
      if time.monotonic() > end:
        raise TimeoutError(f'{self.folder}: not training after {secs} s')
      time.sleep(0.05)

  def beat(self):
    """Returns the last heartbeat of rank 0, or None."""
    return next(iter(heartbeats.read(self.workdir, 1)), None)

  def pids(self):
    """Returns {rank: pid} of the running workers."""
    found = {}
    for path in pathlib.Path('/proc').glob('[0-9]*'):
      with contextlib.suppress(OSError, KeyError):
        if b'\0-m\0resnet.train\0' not in (path / 'cmdline').read_bytes():
          continue
        environ = dict(
            pair.split('=', 1) for pair in
            (path / 'environ').read_text().split('\0') if '=' in pair)
        # The watcher's command line has the worker's in it.
        watcher = b'watcher.py' in (path / 'cmdline').read_bytes()
        if environ['RESNET_TEST_MARK'] == self._mark and not watcher:
          rank = json.loads(environ['TF_CONFIG'])['task']['index']
          found[rank] = int(path.name)
    return found

  def logs(self):
    """Returns {path: text} of what the workers of all attempts printed."""
    return {path: path.read_text(errors='replace')
            for path in self.folder.glob('logs/attempt_*/worker_*.log')}

  def attempt(self):
    """Returns the newest attempt's log folder; None before the first."""
    return max(self.folder.glob('logs/attempt_*'), default=None,
               key=lambda path: int(path.name.partition('_')[2]))

  def checkpoints(self):
    """Returns the data files of complete checkpoints, oldest first."""
    found = self.workdir.glob('checkpoints/ckpt-*.index')
    steps = sorted(int(path.stem.removeprefix('ckpt-')) for path in found)
    return [next(self.workdir.glob(f'checkpoints/ckpt-{step}.data-*'))
            for step in steps]

  def ends_like(self, expected):
    """Returns whether the run has the result of an undisturbed one.

    Lines of metrics.jsonl that an injury damaged may be missing.
    """
    digest, lines = self.result()
    expected_digest, expected_lines = expected
    rest = iter(expected_lines)
    return (digest == expected_digest and all(line in rest for line in lines)
            and len(expected_lines) - len(lines) <= self.damaged_lines)

  def result(self):
    """Returns (digest of the final checkpoint, lines of metrics.jsonl)."""
    lines = (self.workdir / 'metrics.jsonl').read_text().splitlines()
    return self._digest(), [
        {name: value for name, value in json.loads(line).items()
         if not tags.is_of_machine(name)}
        for line in lines]

  def _digest(self):
    """Returns a digest of the final checkpoint's variables, or an error's text.
    """
    import tensorflow as tf  # Seconds, not needed to injure.
    digest = hashlib.sha256()
    try:
      reader = tf.train.load_checkpoint(
          os.fspath(self.workdir / 'checkpoints' / f'ckpt-{_STEPS}'))
      for name in sorted(reader.get_variable_to_shape_map()):
        if name != 'identity':
          digest.update(name.encode() + reader.get_tensor(name).tobytes())
    except Exception as error:  # One for each kind of damage.
      return str(error)
    return digest.hexdigest()

  def training_secs(self):
    """Returns the seconds from the first log point to the last."""
    lines = (self.workdir / 'metrics.jsonl').read_text().splitlines()
    times = [json.loads(line)['time'] for line in lines]
    return times[-1] - times[0]

  def end(self):
    """Ends all processes that still run."""
    for number in (signal.SIGCONT, signal.SIGKILL):
      with contextlib.suppress(ProcessLookupError):
        os.kill(self.launcher.pid, number)
    self.launcher.wait()
    end = time.monotonic() + 10
    while self.pids() and time.monotonic() < end:
      time.sleep(0.05)

  def clear(self):
    """Deletes the run folder, if there is one; keeps the logs."""
    shutil.rmtree(self.workdir, ignore_errors=True)
