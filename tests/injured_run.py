"""A small training run under the launcher, that may be looked at and injured.
"""
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

_ROOT = pathlib.Path(__file__).parent.parent
_STEPS = 240
_FLAGS = (
    '--config.model.width=4', '--config.global_batch=16',
    '--config.train_epochs=0', f'--config.train_steps={_STEPS}',
    '--config.schedule.warmup_epochs=0.05', '--config.eval_batch=100',
    '--log_positions', '--log_every_steps=5', '--eval_every_steps=40',
    '--save_every_steps=9', '--save_every_secs=0',
    '--heartbeat_secs=3', '--start_secs=30')
_LAUNCH_FLAGS = ('--max_restarts=1000', '--grace_secs=10')
_TIMES = ('time', 'images_per_second', 'step_milliseconds',
          'input_wait_fraction')
_DISK_MIB = 64


class Disk(NamedTuple):
  """Where run folders lie."""
  path: pathlib.Path
  is_small: bool  # Whether it is a disk of its own, which can be filled.


@contextlib.contextmanager
def small_disk(path):
  """A Disk, as long as the block lasts."""
  path.mkdir(parents=True)
  mounted = not subprocess.run(
      ['mount', '-t', 'tmpfs', '-o', f'size={_DISK_MIB}m', 'none', path],
      check=False, capture_output=True).returncode
  try:
    yield Disk(path, mounted)
  finally:
    if mounted:
      subprocess.run(['umount', '--lazy', path], check=False)


class Run:
  """A run and its launcher, which may be started again and again."""

  def __init__(self, folder, disk, workers):
    """Args: folder for logs, that does not exist; Disk; number of workers."""
    folder.mkdir()
    self.folder, self.disk, self.workers = folder, disk, workers
    self.workdir = disk.path / folder.name
    self.launcher = None
    self._mark = uuid.uuid4().hex
    self._said = folder / 'launcher.txt'

  def start(self):
    """Starts the launcher, which starts the workers."""
    with self._said.open('ab') as said:
      self.launcher = subprocess.Popen(
          [sys.executable, '-m', 'launch.local', f'--workers={self.workers}',
           *_LAUNCH_FLAGS, f'--log_dir={self.folder}/logs', '--', *_FLAGS,
           f'--workdir={self.workdir}'], cwd=_ROOT, stdout=said, stderr=said,
          env={**os.environ, 'RESNET_TEST_MARK': self._mark})

  @property
  def done(self):
    """Whether the launcher has ended with 0."""
    return self.launcher.poll() == 0

  @property
  def ended(self):
    return self.launcher.poll() is not None

  @property
  def finished(self):
    """Whether the trainer has marked it as done."""
    path = self.workdir / 'run.json'
    return path.exists() and 'summary' in json.loads(path.read_text())

  def ended_by_guard(self):
    """Whether the launcher took so many injuries for a crash loop."""
    last = self._said.read_text().rstrip().rpartition('\n')[2]
    return 'attempts in a row ended within' in last

  def wait(self, secs, may_last=False):
    """Waits until the launcher has ended; TimeoutError unless it may last."""
    try:
      self.launcher.wait(secs)
    except subprocess.TimeoutExpired as error:
      if not may_last:
        raise TimeoutError(f'{self.folder}: not done in {secs} s') from error

  def wait_until_training(self, secs, but=None):
    """Waits until rank 0 has trained, in another process than `but`, or it
    ends.

    Raises:
      TimeoutError: it does not within so many seconds.
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
    """The last heartbeat of rank 0, or None."""
    return next(iter(heartbeats.read(self.workdir, 1)), None)

  def pids(self):
    """{rank: pid} of the workers that run."""
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
    """{path: text} of what workers printed, of all attempts."""
    return {path: path.read_text(errors='replace')
            for path in self.folder.glob('logs/attempt_*/worker_*.log')}

  def attempt(self):
    """Folder of the logs of the newest attempt; None before the first."""
    return max(self.folder.glob('logs/attempt_*'), default=None,
               key=lambda path: int(path.name.partition('_')[2]))

  def checkpoints(self):
    """Paths of data of complete checkpoints, oldest first."""
    found = self.workdir.glob('checkpoints/ckpt-*.index')
    steps = sorted(int(path.stem.removeprefix('ckpt-')) for path in found)
    return [next(self.workdir.glob(f'checkpoints/ckpt-{step}.data-*'))
            for step in steps]

  def result(self):
    """(digest of the final checkpoint, lines of metrics.jsonl)."""
    lines = (self.workdir / 'metrics.jsonl').read_text().splitlines()
    return self._digest(), [
        {k: v for k, v in json.loads(line).items() if k not in _TIMES}
        for line in lines]

  def _digest(self):
    """Of all variables of the final checkpoint; an error's text if it is torn.
    """
    import tensorflow as tf  # Seconds, not needed to injure.
    digest = hashlib.sha256()
    try:
      reader = tf.train.load_checkpoint(
          os.fspath(self.workdir / 'checkpoints' / f'ckpt-{_STEPS}'))
      for name in sorted(reader.get_variable_to_shape_map()):
        if name.startswith('variables'):
          digest.update(name.encode() + reader.get_tensor(name).tobytes())
    except Exception as error:  # One for each kind of damage.
      return str(error)
    return digest.hexdigest()

  def training_secs(self):
    """Seconds from the first log point to the last."""
    lines = (self.workdir / 'metrics.jsonl').read_text().splitlines()
    times = [json.loads(line)['time'] for line in lines]
    return times[-1] - times[0]

  def end(self):
    """Ends all that still runs."""
    for number in (signal.SIGCONT, signal.SIGKILL):
      with contextlib.suppress(ProcessLookupError):
        os.kill(self.launcher.pid, number)
    self.launcher.wait()
    end = time.monotonic() + 10
    while self.pids() and time.monotonic() < end:
      time.sleep(0.05)

  def clear(self):
    """Deletes the run folder, if there is one; logs are kept."""
    shutil.rmtree(self.workdir, ignore_errors=True)
