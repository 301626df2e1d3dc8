"""Nothing that becomes of stdout or stderr ends a program or changes a file."""
import ast
import fcntl
import os
import pathlib
import pty
import signal
import subprocess
import sys
import time

import pytest

_ROOT = pathlib.Path(__file__).parents[2]

# Prints in every way that the trainer does, then ends.
_PROGRAM = '''
import contextlib, faulthandler, logging, os, sys, tempfile, warnings
import tqdm
from configs.process import command_line, quiet, streams

def main(others):
  if 'its product is elsewhere' in others:
    streams.may_be_lost()
  with quiet.tensorflow_import():
    os.write(2, b'a notice')
  opened = os.open(others[0], os.O_RDWR)
  if others[1:2] == ['wait']:
    with contextlib.suppress(OSError):
      sys.stdin.readline()
  print('the product')
  print('a line', file=sys.stderr, flush=True)
  command_line.warn('a warning')
  warnings.warn('another warning')
  logging.getLogger('absl').error('an error')
  bar = tqdm.tqdm(total=3, miniters=1, mininterval=0)
  for _ in range(3):
    bar.update()
    bar.write('a line above', file=sys.stderr)
  bar.close()
  faulthandler.dump_traceback(sys.stderr)
  os.system('echo a child; echo a child >&2')
  print('done', file=os.fdopen(opened, 'w'), flush=True)
  return command_line.DONE

command_line.run(main, command_line.parse_flags)
'''


def _command(mark, *words):
  return [sys.executable, '-c', _PROGRAM, str(mark), *words]


@pytest.fixture
def mark(tmp_path):
  """A file in which the program says that it went on to its end."""
  path = tmp_path / 'mark'
  path.touch()
  return path


def _shell(redirection, mark, *words):
  return subprocess.run(
      ['bash', '-c', f'"$@" {redirection}', 'bash', *_command(mark, *words)],
      capture_output=True, text=True, cwd=_ROOT, check=False)


_STDOUT_LOST = ['>&-', '>/dev/full', '<&- >&- 2>&-', '>/dev/full 2>&1']
_STDERR_LOST = ['2>&-', '2>/dev/full', '2> >(true)', '<&-', '2>&- <&-']


@pytest.mark.parametrize('redirection', _STDOUT_LOST + _STDERR_LOST)
def test_a_program_goes_on_to_its_end(mark, redirection):
  done = _shell(redirection, mark, 'x', 'its product is elsewhere')
  assert done.returncode == 0, done.stderr
  # Nothing was printed into the file, whose number could have been 1 or 2.
  assert mark.read_text() == 'done\n'


@pytest.mark.parametrize('redirection', _STDERR_LOST)
def test_what_stderr_loses_does_not_matter(mark, redirection):
  assert _shell(redirection, mark).returncode == 0


@pytest.mark.parametrize('redirection, reason', [
    ('>&-', 'Bad file descriptor'), ('>/dev/full', 'No space left on device')])
def test_a_lost_product_is_a_failure(mark, redirection, reason):
  done = _shell(redirection, mark)
  assert done.returncode == 1
  assert done.stderr.splitlines()[-1] == (
      f'error: stdout could not be written ({reason}): what the program '
      'printed is lost.')


def test_a_reader_that_has_left_is_no_error(mark):
  done = _shell('| true; exit ${PIPESTATUS[0]}', mark, 'x')
  if done.returncode:  # Unless it read a part before it left.
    assert done.returncode == 128 + signal.SIGPIPE
  assert 'error: stdout' not in done.stderr and 'Traceback' not in done.stderr


def test_whole_output_is_no_failure(mark):
  done = _shell('', mark)
  assert done.returncode == 0
  assert done.stdout == 'the product\na child\n'
  for line in ('a line\n', 'warning: a warning\n', 'UserWarning: another warn',
               'an error\n', 'a line above\n', 'most recent call first'):
    assert line in done.stderr


@pytest.mark.parametrize('ignored', [True, False])
def test_a_terminal_that_goes_away(mark, ignored):
  """With SIGHUP ignored, as under nohup; else the signal ends the program."""
  ours, theirs = pty.openpty()

  def own_terminal():
    fcntl.ioctl(0, 0x540e, 0)  # TIOCSCTTY: SIGHUP comes when it goes away.
    signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)

  # The file descriptor 0 is the terminal, too: reading ends when it goes away.
  program = subprocess.Popen(
      _command(mark, 'wait', 'its product is elsewhere'), stdin=theirs,
      stdout=theirs, stderr=theirs, start_new_session=True, cwd=_ROOT,
      preexec_fn=own_terminal)
  os.close(theirs)
  time.sleep(0.5)
  os.close(ours)
  code = program.wait(30)
  assert code == (0 if ignored else -signal.SIGHUP)
  assert mark.read_text() == ('done\n' if ignored else '')


_NONBLOCKING = '''
import fcntl, os, sys
from configs.process import command_line
fcntl.fcntl(1, fcntl.F_SETFL, os.O_NONBLOCK)
def main(_):
  for number in range(20000):
    print(number)
  return command_line.DONE
command_line.run(main, command_line.parse_flags)
'''


def test_a_reader_that_is_slow_gets_all():
  """Also where another program has set the terminal or pipe not to block."""
  program = subprocess.Popen([sys.executable, '-c', _NONBLOCKING], cwd=_ROOT,
                             stdout=subprocess.PIPE, text=True)
  time.sleep(0.5)
  assert program.stdout is not None
  assert program.stdout.read().split() == [str(n) for n in range(20000)]
  assert program.wait() == 0


def test_import_without_stderr_and_without_a_folder_for_files(tmp_path):
  program = ('import os\nos.close(2)\nfrom configs.process import quiet\n'
             'with quiet.tensorflow_import():\n  print("imported")')
  done = subprocess.run(
      [sys.executable, '-c', program], capture_output=True, text=True,
      cwd=_ROOT, env={**os.environ, 'TMPDIR': f'{tmp_path}/none'}, check=False)
  assert (done.returncode, done.stdout) == (0, 'imported\n')
  program = program.replace('os.close(2)\n', '').replace(
      'print("imported")', 'os.write(2, b"a notice"); raise ImportError("x")')
  done = subprocess.run(
      [sys.executable, '-c', program], capture_output=True, text=True,
      cwd='/', env={**os.environ, 'PYTHONPATH': str(_ROOT), 'TMPDIR': '/none'},
      check=False)
  assert done.stderr.startswith('a noticeTraceback')


_SOURCES = [path for package in ('configs', 'launch', 'pipelines', 'resnet')
            for path in (_ROOT / package).rglob('*.py')]


def _names(path):
  """Returns the dotted names that a source uses: {'sys.stdout.write', ...}."""
  return {ast.unparse(node) for node in ast.walk(ast.parse(path.read_text()))
          if isinstance(node, ast.Attribute)}


def test_every_program_starts_and_ends_in_one_place():
  """So that none prints to streams that may fail."""
  programs = [path for path in _SOURCES
              if "\nif __name__ == '__main__':" in path.read_text()]
  assert len(programs) > 12
  for path in programs:
    text = path.read_text()
    # These are started without the project's code.
    assert 'command_line.run(main, parse)' in text or path.name in (
        'watcher.py', 'private_network.py', 'torch_step.py',
        'fresh_process.py'), path


def test_nobody_writes_past_the_guarded_streams():
  for path in _SOURCES:
    names = _names(path)
    assert not names & {'sys.__stdout__', 'sys.__stderr__'}, path
    if path.name not in ('command_line.py', 'streams.py', 'quiet.py',
                         'stop_signals.py', 'watcher.py', 'output.py',
                         'placement.py', 'api.py'):
      assert not names & {'os._exit', 'os.dup2', 'os.write'}, path


_THREAD = '''
import atexit, threading, time
from configs.process import command_line
def main(_):
  threading.Thread(target=time.sleep, args=(60,)).start()
  atexit.register(print, "at exit")
  print("last line", end="")
  return 143
command_line.run(main, command_line.parse_flags)
'''


def test_no_thread_keeps_a_program_from_ending():
  began = time.monotonic()
  done = subprocess.run([sys.executable, '-c', _THREAD], cwd=_ROOT, text=True,
                        stdout=subprocess.PIPE, check=False)
  assert (done.returncode, done.stdout) == (143, 'last lineat exit\n')
  assert time.monotonic() - began < 20
