"""Asks a process with TensorFlow what the trainer would find on this machine.

  survey, problems = await ask(survey.command(trainer_flags))
"""
import asyncio
import contextlib
import os
import sys

from configs.process import command_line
from launch.doctor import reports
from launch.local import worker_process

_LONGEST_SECS = 300.0  # TensorFlow comes slowly from a cold network disk.
_KILLED_SECS = 5.0  # A process that waits for a disk may outlive this one.


def command(trainer_flags):
  """The words of the process to ask."""
  return (sys.executable, '-m', 'resnet.tools.survey', *trainer_flags)


async def ask(words, longest_secs=_LONGEST_SECS):
  """Runs a process to its end and reads its answer.

  Args:
    words: the command; what it prints last is the answer, as by resnet.tools.survey.
    longest_secs: after which it is killed.

  Returns:
    (the answer, a dict, or None if there is none; list of sentences: why there
    is none, or what is wrong by it).
  """
  # Under the watcher it ends with this process, however that ends.
  process = await asyncio.create_subprocess_exec(
      sys.executable, '-IS', os.fspath(worker_process.WATCHER), *words,
      stdin=asyncio.subprocess.PIPE,
      stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
  try:
    # communicate() would close the watcher's input, which ends it.
    end = asyncio.gather(
        process.stdout.read(), process.stderr.read(), process.wait())
    out, err, code = await asyncio.wait_for(end, longest_secs)
  except asyncio.TimeoutError:
    return None, [f'`{_name(words)}` did not end within {longest_secs:g} s: '
                  'look at what the disks with Python, the code and the data '
                  'set are doing.']
  finally:
    await _end(process)
  answer = reports.read_survey(_last_line(out))
  if code == command_line.DONE and answer:
    return answer, answer['problems']
  last = _last_line(err).decode(errors='replace')
  if code == command_line.PERMANENT and last.startswith('error: '):
    return None, [last.removeprefix('error: ')]
  return None, [f'`{_name(words)}` ended with exit code {code} '
                f'({last or "it printed nothing"}): run it by hand there.']


async def _end(process):
  """Ends a watcher and what it runs, if they have not ended by themselves."""
  process.stdin.close()
  try:
    await asyncio.wait_for(process.wait(), _KILLED_SECS)
  except asyncio.TimeoutError:
    with contextlib.suppress(ProcessLookupError):
      process.kill()


def _name(words):
  return ' '.join(('python', *words[1:3]))


def _last_line(text):
  return (text.splitlines() or [b''])[-1]
