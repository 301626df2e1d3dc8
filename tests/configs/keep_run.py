"""Keeps the figures of runs in configs/measured/, small enough for git.

  python -m tests.configs.keep_run runs/fashion-sweep/* --to=fashion_mnist

Of each run folder it keeps, in a folder of the same name, what was trained
(config.json), how (run.json: command, processor, versions, starts) and the
figures that say how well (metrics.jsonl, without those of speed). These are run
folders too: `resnet.report` draws them.
"""
import argparse
import json
import pathlib
from typing import Any

_KEPT = pathlib.Path(__file__).parents[2] / 'configs' / 'measured'
_FIGURES = ('split', 'step', 'epoch', 'time', 'loss', 'accuracy', 'examples',
            'learning_rate', 'seconds')
_ABOUT = ('settings', 'replicas', 'versions', 'init')
_DIGITS = 6  # Of a figure: float32 has no more.


def main() -> None:
  """Reads the command line and keeps the runs."""
  parser = argparse.ArgumentParser(
      description='Keeps the figures of runs in configs/measured/.')
  parser.add_argument('runs', nargs='+', type=pathlib.Path, metavar='RUN',
                      help='run folders')
  parser.add_argument('--to', required=True, metavar='NAME',
                      help='the experiment: a folder in configs/measured/')
  flags = parser.parse_args()
  for run in flags.runs:
    keep(run, _KEPT / flags.to / run.name)


def keep(run: pathlib.Path, folder: pathlib.Path) -> None:
  """Writes what is kept of a run.

  Args:
    run: its folder. That of tests.keras_fit has no config.json.
    folder: the folder to write into, made if there is none.
  """
  folder.mkdir(parents=True, exist_ok=True)
  config, about = run / 'config.json', json.loads(
      (run / 'run.json').read_bytes())
  if config.exists():
    (folder / config.name).write_bytes(config.read_bytes())
    about = {'command': _command(about['command']),
             **{name: about[name] for name in _ABOUT if name in about},
             'starts': _lines(run / 'starts.jsonl')}
  _write(folder / 'run.json', json.dumps(about, indent=1))
  _write(folder / 'metrics.jsonl', '\n'.join(
      json.dumps({name: _rounded(record[name])
                  for name in _FIGURES if name in record})
      for record in _lines(run / 'metrics.jsonl')))


def _command(words: list[str]) -> str:
  """Returns the command of a run as others would type it."""
  flags = [word for word in words[1:]
           if not word.startswith(('--workdir=', '--data_dir='))]
  return ' '.join(['python -m resnet.train', *flags, '--data_dir=DIR'])


def _rounded(value: Any) -> Any:
  return (float(f'{value:.{_DIGITS}g}')
          if isinstance(value, float) and value < 1e6 else value)


def _lines(path):
  return [json.loads(line) for line in path.read_bytes().splitlines()]


def _write(path, text):
  path.write_text(f'{text}\n', encoding='utf-8')


if __name__ == '__main__':
  main()
