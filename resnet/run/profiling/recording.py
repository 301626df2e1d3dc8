"""Profiles some updates of a run, once: --profile_steps.

What is recorded is only the calls that train: the session of TensorFlow's
profiler is closed while a call compiles, while the run evaluates and while it
saves, and opened again. Each part becomes RUN/plugins/profile/steps_A_B/
<host>_<rank>.xplane.pb, where TensorBoard's profile plugin looks. The file
RUN/profile/steps_FIRST_LAST.txt has the operations as a table; where it is
there, the span is not profiled again. A run that is stopped within the span
drops what it has, and profiles what is left when it is resumed.

None of this can end a run: what goes wrong is one warning.
"""
from collections.abc import Callable
import contextlib
import math
import os
import pathlib
import platform
import re
import shutil
import time
from typing import Any, NamedTuple

import tensorflow as tf

from configs.process import atomic_file, command_line, errors
from resnet import plan
from resnet.distribution import strategy as strategy_lib
from resnet.execution.options import Options
from resnet.run.profiling import table, trace
from resnet.run.profiling.span import Span

FOLDER = 'profile'
_TRACES = pathlib.PurePath('plugins', 'profile')  # TensorBoard's name.
_PARTIAL = '.recording_'
_NOT_A_NAME = re.compile('[^A-Za-z0-9-]+')


class _Part(NamedTuple):
  """A recorded stretch."""
  first: int
  last: int
  secs: float
  path: pathlib.Path  # The trace, not yet where it belongs.


class Recording:
  """The profile of a run in one of its processes; off without a span.

  `begin` and `end` belong around each call that trains, `pause` before anything
  else that computes. Closing it, as a context, drops what is not complete.
  """

  def __init__(self, options: Options, workdir: str | os.PathLike, rank: int,
               total_steps: int):
    """Removes what a killed process has left.

    Args:
      options: how the run executes.
      workdir: path of the run folder.
      rank: of this worker.
      total_steps: updates of the run.

    Raises:
      UserError: the span is not within the run.
    """
    self._span = Span(*options.profile_steps) if options.profile_steps else None
    self._folder, self._rank = pathlib.Path(workdir), rank
    self._partial = self._folder / FOLDER / f'{_PARTIAL}{rank}'
    self._records = self._span is not None and (
        rank == 0 or options.profile_workers == 'all')
    self._at: int | None = None  # Step after the last call; None: in a call.
    self._first: int | None = None  # Of the open session.
    self._secs, self._parts = 0.0, []
    if self._span:
      self._span.check(total_steps)
      self._records = self._records and not self._table.exists()
      if rank == 0:  # Before the first call, no worker records.
        for left in (self._folder / FOLDER).glob(f'{_PARTIAL}*'):
          shutil.rmtree(left, ignore_errors=True)

  def __enter__(self) -> 'Recording':
    return self

  def __exit__(self, *_: object) -> None:
    self._drop()

  @property
  def _table(self):
    assert self._span
    worker = f'_worker_{self._rank}' if self._rank else ''
    return self._folder / FOLDER / (
        f'steps_{self._span.first}_{self._span.last}{worker}.txt')

  def announce(self, run: Any) -> None:
    """Says what is not profiled, and why; `run` is the session.Session."""
    span = self._span
    if not span:
      return
    start = span.starts(run.step)
    if self._table.exists():
      run.bar.say(f'{span}: profiled before, see {self._table}')
    elif start >= span.last:
      self._records = False
      run.bar.say(f'{span}: not profiled, the run continues from step '
                  f'{run.step}')
    elif start > span.first:
      run.bar.say(f'{span}: profiles updates {start + 1} to {span.last}; '
                  f'update {start} is the first of this process and compiles')

  def after(self, run: Any) -> float:
    """Returns the next step at which a call must end, or math.inf."""
    return self._span.after(run.step, _compiles(run)) if (
        self._span) else math.inf

  def begin(self, run: Any) -> None:
    """Starts to record, if the call that begins now is to be recorded."""
    if self._span is None or not self._records:
      return
    if run.step != self._at:  # The run has gone back to a checkpoint.
      self._drop()
    if not self._span.records(run.step, _compiles(run)):
      self.pause(run)
    elif self._first is None:
      with self._attempt(run):
        for folder in (self._partial.parent, self._partial):
          folder.mkdir(exist_ok=True)  # Not the run folder, if it was removed.
        trace.start(self._partial / str(run.step))
        self._first, self._secs = run.step, 0.0
    self._at = None

  def end(self, run: Any, step: int, secs: float) -> None:
    """Notes a call; after the last one of the span, writes the profile.

    Args:
      run: the session.Session.
      step: updates done.
      secs: how long the call took.
    """
    self._at, self._secs = step, self._secs + secs
    if run.histograms.due(step):  # They are computed next.
      self.pause(run)
    if self._span and self._records and step >= self._span.last:
      self.pause(run)
      if self._parts:
        run.beat.note('profile', step)
        with self._attempt(run):
          self._write(run)
      self._records = False

  def pause(self, run: Any) -> None:
    """Stops to record until the next call."""
    if self._first is None or self._at is None:
      return
    first, self._first = self._first, None
    with self._attempt(run):
      tf.profiler.experimental.stop()
      self._parts.append(_Part(first, self._at, self._secs, trace.file_in(
          self._partial / str(first))))

  def end_run(self, run: Any, stopped: bool) -> None:
    """Says so if the run ends before the span is profiled.

    Args:
      run: the session.Session.
      stopped: whether the run can be resumed.
    """
    if self._span and self._records and not stopped:
      run.bar.say(f'{self._span}: not profiled, the run has ended at step '
                  f'{run.step}')
    elif self._span and self._records and run.step > self._span.first:
      run.bar.say(f'{self._span}: not profiled yet, what is left of it will be '
                  'when the run is resumed')

  @contextlib.contextmanager
  def _attempt(self, run):
    """Ends profiling, and not the run, if the block fails.

    Its time counts as start-up: it is neither training nor a part of the run.
    """
    started = time.monotonic()
    try:
      yield
    except Exception as error:  # Of TensorFlow, of the disk, of the trace.
      self._records = False
      self._drop()
      _warn(run, f'{self._span}: not profiled '
            f'({errors.first_line(error)}); the run goes on.')
    run.watch.add('start_up', time.monotonic() - started)

  def _write(self, run):
    """Moves the traces, writes the table, and says where they are."""
    contents = [part.path.read_bytes() for part in self._parts]
    operations = trace.merged(map(trace.parse, contents))
    steps = sum(part.last - part.first for part in self._parts)
    secs = sum(part.secs for part in self._parts)
    name = f'{_NOT_A_NAME.sub("-", platform.node())}_{self._rank}.xplane.pb'
    for part in self._parts:
      folder = self._folder / _TRACES / f'steps_{part.first}_{part.last}'
      folder.mkdir(parents=True, exist_ok=True)
      os.replace(part.path, folder / name)
    updates = ', '.join(f'{part.first + 1} to {part.last}'
                        for part in self._parts)
    atomic_file.write(
        self._table, f'updates {updates} of {self._folder}\n{_what(run)}\n'
        + table.text(operations, steps, secs))
    self._drop()
    if strategy_lib.on_gpus(run.group.strategy) and not any(
        map(trace.has_gpus, contents)):
      _warn(run, f'{self._span}: the profiler has seen no kernel of the GPUs, '
            f'so that {self._table} shows the host; TF_CPP_MIN_LOG_LEVEL=0 '
            'shows what TensorFlow says about that.')
    run.bar.say(
        f'profile     updates {updates}: {1000 * secs / steps:.1f} ms each '
        f'under the profiler; {table.top(operations)} of the operations')
    run.bar.say(f'            {self._table}; tensorboard --logdir '
                f'{self._folder} (with pip install xprof)')

  def _drop(self):
    """Ends an open session, and deletes what is not complete."""
    if self._first is not None:
      self._first = None
      with contextlib.suppress(Exception):
        tf.profiler.experimental.stop(save=False)
    self._parts = []
    shutil.rmtree(self._partial, ignore_errors=True)


def _compiles(run: Any) -> Callable[[int], bool]:
  """Returns whether the call that begins at a step traces and compiles."""
  sizes = run.config.augment.sizes

  def compiles(step):
    return step == run.first_step or bool(sizes) and plan.phase(
        step, sizes, run.total_steps) != plan.phase(
            step - 1, sizes, run.total_steps)

  return compiles


def _what(run):
  config, devices = run.config, run.group.strategy.extended.worker_devices
  names = ', '.join(device.rpartition('/device:')[2] for device in devices)
  return (f'batches of {config.global_batch}, {config.precision}, '
          f'--jit={run.options.jit}, worker {run.group.rank} of '
          f'{run.group.count} on {platform.node()}, {names}')


def _warn(run, text):
  if run.group.is_chief:
    run.bar.say(f'warning: {errors.printable(text)}')
  else:
    command_line.warn(text)
