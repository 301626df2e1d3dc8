"""What pages and docstrings say was measured is what the kept runs say."""
import ast
import json
import re

from absl import flags
import pytest

from configs import loading, schema
from tests import processes
from tests.configs import measured_page

_RUNS = [run for folder in sorted(measured_page.FOLDER.iterdir())
         if folder.is_dir() and folder.name != '__pycache__'
         for run in measured_page.runs(folder.name)]
_OURS = [run for run in _RUNS if (run.path / 'config.json').exists()]


def _names(runs):
  return [f'{run.path.parent.name}/{run.path.name}' for run in runs]


@pytest.mark.parametrize('page', measured_page.PAGES, ids=str)
def test_tables_are_those_of_the_kept_runs(page):
  text = page.read_text(encoding='utf-8')
  assert list(measured_page.shown(text))
  assert text == measured_page.text(text), (
      'run `python -m tests.configs.measured_page`')


def test_every_table_is_shown():
  page = (measured_page.FOLDER / 'README.md').read_text(encoding='utf-8')
  assert set(measured_page.shown(page)) == set(measured_page.TABLES)


@pytest.mark.parametrize('run', _OURS, ids=_names(_OURS))
def test_the_command_trains_what_was_trained(run):
  words = run.about['command'].split()
  assert words[:3] == ['python', '-m', 'resnet.train']
  fields = [word for word in words if word.startswith('--config')]
  config, _, _ = loading.parse(['train', *fields], flags.FlagValues())
  kept = schema.from_dict(json.loads((run.path / 'config.json').read_text()))
  assert not schema.differences(config, kept)


@pytest.mark.parametrize('run', _RUNS, ids=_names(_RUNS))
def test_figures_are_of_one_run_from_its_beginning(run):
  for split in ('train', 'eval'):
    steps = [r['step'] for r in run.records if r['split'] == split]
    assert steps and steps == sorted(set(steps))
  assert [r['time'] for r in run.records] == sorted(
      r['time'] for r in run.records)
  assert all(r.get('examples', 10_000) == 10_000 for r in run.evals)


@pytest.mark.parametrize('run', _OURS, ids=_names(_OURS))
def test_starts_are_of_this_run(run):
  steps = [start['step'] for start in run.about['starts']]
  assert steps[0] == 0 and steps == sorted(steps)
  assert steps[-1] < run.records[-1]['step']


@pytest.mark.parametrize('recipe', measured_page.SENTENCES)
def test_the_docstring_of_a_recipe_says_what_was_measured(recipe):
  path = measured_page.ROOT / 'configs' / f'{recipe}.py'
  docstring = ast.get_docstring(ast.parse(path.read_text())) or ''
  sentence = measured_page.SENTENCES[recipe]()
  assert sentence in re.sub(r'\s+', ' ', docstring), sentence


def test_kept_runs_are_drawn(tmp_path):
  first = [runs[0] for runs in measured_page.groups('three_epochs').values()
           if runs[0] in _OURS]
  result = processes.run(
      'resnet.report', '--parts=curves', f'--output={tmp_path}/pictures',
      f'--workdir={",".join(str(run.path) for run in first)}')
  assert result.code == 0, result.err
  assert (tmp_path / 'pictures/error.png').read_bytes().startswith(b'\x89PNG')
