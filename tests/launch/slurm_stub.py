"""A tiny trainer for jobs: notes what it was given and ends as its plan says.

  python -m tests.launch.slurm_stub --workdir=DIR --plan=0.1=9,0.*=143,*.*=0

Each part of a plan, START.TASK=END, says how a task ends one of its starts; the
first part that fits counts. An end is an exit code; `kill` (by SIGKILL); `wait`
(until SIGTERM, then with 143); `after_go` (until the folder holds a file `go`,
then with 143); or `saved` (with 143, at once). Those that end with 143, except
by their exit code, save a checkpoint.
"""
import json
import os
import pathlib
import signal
import socket
import sys
import time

from configs.process import command_line
from configs.process.errors import UserError
from launch.cluster import resolver

_LONGEST_SECS = 300


def main():
  given = dict(word.lstrip('-').split('=', 1) for word in sys.argv[1:])
  try:
    found = resolver.from_environment(os.environ)
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    return command_line.PERMANENT
  start = os.environ.get('SLURM_RESTART_COUNT', '0')
  workdir = pathlib.Path(given['workdir'])
  workdir.mkdir(parents=True, exist_ok=True)
  note = workdir / f'{start}_{found.rank}.json'
  signal.signal(signal.SIGTERM, lambda *_: _save(note))
  content = json.dumps({
      'argv': sys.argv[1:], 'addresses': found.addresses, 'rank': found.rank,
      'host': socket.gethostname(), 'environ': dict(os.environ),
      'pid': os.getpid()})
  note.with_suffix('.new').write_text(content)
  note.with_suffix('.new').rename(note)
  end = _end(given.get('plan', '*.*=0'), start, str(found.rank))
  if end == 'kill':
    os.kill(os.getpid(), signal.SIGKILL)
  if end in ('wait', 'after_go'):
    deadline = time.monotonic() + _LONGEST_SECS
    while time.monotonic() < deadline:
      if end == 'after_go' and (workdir / 'go').exists():
        _save(note)
      time.sleep(0.1)
    return 1
  if end == 'saved':
    _save(note)
  return int(end)


def _end(plan, start, rank):
  for step in plan.split(','):
    who, end = step.split('=')
    if all(wanted in ('*', own) for wanted, own in zip(
        who.split('.'), (start, rank))):
      return end
  raise ValueError(plan)


def _save(note):
  note.with_suffix('.saved').touch()
  start, _, _ = note.name.partition('_')
  checkpoints = note.parent / 'checkpoints'
  checkpoints.mkdir(exist_ok=True)
  (checkpoints / f'ckpt-{start}.index').touch()
  os._exit(command_line.START_AGAIN)


if __name__ == '__main__':
  sys.exit(main())
