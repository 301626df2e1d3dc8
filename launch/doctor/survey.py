"""Asks a process with TensorFlow what the trainer would find on this machine.

  survey, problems = await ask(command(trainer_flags))
"""
import asyncio
from collections.abc import Sequence
import contextlib
import os
import sys
from typing import Any

from configs.process import command_line, python_module
from launch.doctor import reports
from launch.local import worker_process

_LONGEST_SECS = 300.0  # Importing TensorFlow from a cold network disk is slow.
_KILLED_SECS = 5.0  # A process that waits for a disk may not end when killed.
_ERROR = 'error: '  # How a program's error begins; see command_line.run.


def command(trainer_flags: Sequence[str]) -> tuple[str, ...]:
  """Returns the words of the command that surveys this machine."""
  return (*python_module.command('resnet.tools.survey'), *trainer_flags)


async def ask(
    words: Sequence[str], longest_secs: float = _LONGEST_SECS
) -> tuple[dict[str, Any] | None, list[str]]:
  """Runs a survey to its end and reads its answer.

  Args:
    words: the command. Its last line of output is the answer, as printed by
      resnet.tools.survey.
    longest_secs: after this time it is killed.

  Returns:
    (answer, problems). The answer is None if there is none. Problems are
    sentences: why there is no answer, or what the survey found wrong.
  """
  # Under the watcher it ends with this process, however that ends.
  process = await asyncio.create_subprocess_exec(
      sys.executable, '-IS', os.fspath(worker_process.WATCHER), *words,
      env=python_module.environment(os.environ), stdin=asyncio.subprocess.PIPE,
      stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
  assert process.stdout and process.stderr
  try:
    # communicate() would close the watcher's input, which ends it.
    end = asyncio.gather(
        process.stdout.read(), process.stderr.read(), process.wait())
    out, err, code = await asyncio.wait_for(end, longest_secs)
  except TimeoutError:
    return None, [f'`{_name(words)}` did not finish within {longest_secs:g} s: '
                  'check the disks that hold Python, the code and the data '
                  'set.']
  finally:
    await _end(process)
  answer = reports.read_survey(_last_line(out))
  if code == command_line.DONE and answer:
    return answer, answer['problems']
  last = _last_line(err).decode(errors='replace')
  if code == command_line.PERMANENT and last.startswith(_ERROR):
    return None, [last.removeprefix(_ERROR)]
  return None, [f'`{_name(words)}` exited with code {code} '
                f'({last or "it printed nothing"}): run it by hand on that '
                'machine.']


async def _end(process: asyncio.subprocess.Process) -> None:
  """Ends a watcher and what it runs, unless they have ended by themselves."""
  assert process.stdin
  process.stdin.close()
  try:
    await asyncio.wait_for(process.wait(), _KILLED_SECS)
  except TimeoutError:
    with contextlib.suppress(ProcessLookupError):
      process.kill()


def _name(words):
  """Returns a command without its flags, as a user would type it."""
  if '-m' not in words:
    return os.path.basename(words[0])
  return f'python -m {words[words.index("-m") + 1]}'


def _last_line(text: bytes) -> bytes:
  return (text.splitlines() or [b''])[-1]
