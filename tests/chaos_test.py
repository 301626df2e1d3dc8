"""Each kind of injury, over 1 and 2 workers: the same bits in the end."""
import pathlib
import re
import subprocess
import sys

_ROOT = pathlib.Path(__file__).parent.parent
_INJURIES = 24  # Of nine kinds; without fill_disk for whoever is not root.


def test_injured_runs_end_as_those_left_in_peace():
  done = subprocess.run(
      [sys.executable, '-m', 'tests.chaos', f'--injuries={_INJURIES}',
       '--workers=1,2', '--seed=1'], cwd=_ROOT, capture_output=True,
      text=True, check=False, timeout=1800)
  assert done.returncode == 0, done.stdout + done.stderr
  *rows, end = done.stdout.splitlines()
  assert end == f'{_INJURIES} injuries, 0 wrong'
  drawn = {match[1] for match in map(re.compile(
      r'(\w+) +[12] +\d+ +\d+ ').match, rows) if match}
  assert drawn >= {'kill_worker', 'terminate_worker', 'stop_worker',
                   'slow_worker', 'kill_launcher', 'terminate_launcher',
                   'stop_launcher', 'tear_checkpoint'}
