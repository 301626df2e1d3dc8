"""Has programs read the flags of commands, without running them.

  python -m tests.command_flags < commands.json   # [[module, [word, ...]], ...]

Prints what they say of the commands that they refuse, one a line. Each command
is read in a process of its own, forked from one that has imported all programs,
and that has not imported TensorFlow.
"""
import importlib
import json
import os
import sys

from configs.process.errors import UserError


def _refused(module, words):
  """Returns whether a program refuses a command; prints why."""
  child = os.fork()
  if child:
    return os.waitpid(child, 0)[1] != 0
  try:
    sys.modules[module].parse([module, *words])
    os._exit(0)
  except (UserError, SystemExit) as error:
    print(f'{module} {" ".join(words)}: {error}', flush=True)
  finally:
    os._exit(1)


if __name__ == '__main__':
  commands = json.load(sys.stdin)
  for name in {module for module, _ in commands}:
    importlib.import_module(name)
  sys.exit(sum(_refused(*command) for command in commands) > 0)
