"""Lists the runs below a folder: how far they are, how good, and what differs.

  python -m resnet.runs                   # below runs/
  python -m resnet.runs FOLDER --sort=best
  python -m resnet.runs FOLDER --csv > runs.csv
  python -m resnet.runs --diff runs/a runs/b

A run is finished; running; stopped (saved, and continued by the same command);
or dead (killed, crashed or failed, and continued from its last checkpoint).
Changes are the fields that differ from those of the recipe. Works while runs
are training, and changes nothing of them.
"""
import pathlib

from absl import flags

from configs.process import command_line, errors, paths
from configs.process.errors import UserError
from resnet.reporting import run_differences, run_rows, runs_table

_DEFAULT = 'runs'


def parse(argv: list[str]) -> list[str]:
  """Defines and reads the flags; returns the folder, or the runs to compare."""
  flags.DEFINE_string(
      'sort', 'run', 'The column to sort by: texts by the alphabet, numbers '
      'from the largest on; with - before it, the other way around.')
  flags.DEFINE_bool(
      'csv', False, 'Prints all columns, with all digits, as CSV.')
  flags.DEFINE_bool(
      'diff', False, 'Prints how two runs differ in config, data, versions and '
      'figures: give their paths, or the folder and their names in its table.')
  return command_line.parse_flags(argv)


def main(others: list[str]) -> int:
  """Prints the table, or the differences; returns the exit code."""
  values = flags.FLAGS
  runs_table.check_column(values.sort)
  if values.diff:
    _print_differences(others)
    return command_line.DONE
  if len(others) > 1:
    raise UserError(f'{" ".join(others)} are {len(others)} folders: give one '
                    'folder, or --diff to compare two runs.')
  top = _folder(others[0] if others else _DEFAULT)
  rows = [run_rows.read(path, str(path.relative_to(top)))
          for path in run_rows.find(top)]
  if not rows:
    raise UserError(f'There are no runs in {top}: give the folder that holds '
                    'run folders, such as the --workdir of `python -m '
                    'resnet.train`.')
  rows = runs_table.in_order(rows, values.sort)
  print(runs_table.csv(rows).removesuffix('\n') if values.csv
        else runs_table.text(rows))
  return command_line.DONE


def _print_differences(words: list[str]) -> None:
  """Prints how two runs differ; words are [folder,] run, run."""
  if len(words) not in (2, 3):
    raise UserError(f'--diff compares two runs, but {len(words)} '
                    f'{"path was" if len(words) == 1 else "paths were"} given: '
                    'give --diff RUN RUN, or FOLDER --diff RUN RUN.')
  top = _folder(words[0]) if len(words) == 3 else None
  names = [str(paths.local(word, 'RUN')) for word in words[-2:]]
  folders = [run_differences.named(name, top) for name in names]
  first, second = (run_rows.read(path, name)
                   for path, name in zip(folders, names))
  print(run_differences.text((first, second), (folders[0], folders[1])))


def _folder(text: str) -> pathlib.Path:
  """Returns a folder that the user gave; raises UserError if it is none."""
  top = paths.local(text, 'FOLDER')
  shown = errors.printable(text)
  try:
    is_there, is_folder = top.exists(), top.is_dir()
  except OSError as error:
    raise UserError(f'{shown} cannot be read ({error.strerror}): give a folder '
                    'that you may read.') from error
  if not is_there:
    raise UserError(f'{shown} does not exist: give the folder that holds run '
                    'folders.')
  if not is_folder:
    raise UserError(f'{shown} is not a folder: give the folder that holds run '
                    'folders.')
  return top


def run() -> None:
  """Runs the installed command."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
