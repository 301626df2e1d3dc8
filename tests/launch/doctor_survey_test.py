"""Surveys are processes: what the doctor makes of their answers and ends."""
import asyncio
import sys

import pytest

from launch.doctor import survey
from tests.launch import doctor_ranks as ranks
from tests.launch import doctor_samples, stub_workers


@pytest.fixture(name='running', autouse=True)
def _running(monkeypatch):
  """Yields which processes of a test run; fails if one is left behind."""
  with stub_workers.marked(monkeypatch) as running:
    yield running


@pytest.mark.parametrize('code, sentence', [
    ('raise ImportError("no TensorFlow")', '`python -m stub` exited with code '
     '1 (ImportError: no TensorFlow): run it by hand on that machine.'),
    ('print("{}")', '`python -m stub` exited with code 0 (it printed nothing): '
     'run it by hand on that machine.'),
    ('import os\nos.kill(os.getpid(), 9)', '`python -m stub` exited with code '
     '-9 (it printed nothing): run it by hand on that machine.'),
    ('import sys\nprint("warning: x.\\nerror: Not so.", file=sys.stderr)\n'
     'sys.exit(2)', 'Not so.'),
    ('import sys\nprint("Not so.", file=sys.stderr)\nsys.exit(2)',
     '`python -m stub` exited with code 2 (Not so.): run it by hand on that '
     'machine.'),
    (f'import json\nprint(json.dumps({doctor_samples.SURVEY}))\nexit(3)',
     '`python -m stub` exited with code 3 (it printed nothing): run it by hand '
     'on that machine.'),
])
def test_surveys_that_fail(tmp_path, monkeypatch, code, sentence):
  (tmp_path / 'stub.py').write_text(code)
  monkeypatch.chdir(tmp_path)
  assert asyncio.run(survey.ask((sys.executable, '-m', 'stub', '--flag'))) == (
      None, [sentence])


def test_a_survey_that_hangs_is_killed(running, monkeypatch):
  monkeypatch.setattr(survey, '_KILLED_SECS', 60)  # It is not waited for.
  answer, (sentence,) = asyncio.run(
      asyncio.wait_for(survey.ask(ranks.HANGS, longest_secs=0.5), 20))
  assert answer is None and 'did not finish within 0.5 s' in sentence
  assert not running()


def test_the_working_directory_does_not_shadow_the_survey(
    tmp_path, monkeypatch):
  (tmp_path / 'resnet.py').write_text('raise SystemExit("shadowed")')
  (tmp_path / 'configs').mkdir()
  (tmp_path / 'configs' / '__init__.py').write_text('raise SystemExit')
  monkeypatch.chdir(tmp_path)
  answer, (sentence,) = asyncio.run(survey.ask(survey.command(['--jit=maybe'])))
  assert answer is None and sentence.startswith('--jit=maybe is not allowed')
