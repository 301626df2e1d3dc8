"""No kind of injury changes the final bits, over 1 and 2 workers."""
import pathlib
import re
import subprocess
import sys

import pytest

from tests.chaos import injuries

_ROOT = pathlib.Path(__file__).parents[2]
_INJURIES = 24


@pytest.mark.slow
@pytest.mark.timeout(1400)
def test_injured_runs_end_like_undisturbed_ones():
  done = subprocess.run(
      [sys.executable, '-m', 'tests.chaos', f'--injuries={_INJURIES}',
       '--workers=1,2', '--seed=1'], cwd=_ROOT, capture_output=True,
      text=True, check=False, timeout=1380)
  assert done.returncode == 0, done.stdout + done.stderr
  *rows, end = done.stdout.splitlines()
  assert end == f'{_INJURIES} injuries, 0 wrong'
  drawn = {match[1] for match in map(re.compile(
      r'(\w+) +[12] +\d+ +\d+ ').match, rows) if match}
  assert drawn >= set(injuries.KINDS) - {*injuries.OF_SMALL_DISK}
