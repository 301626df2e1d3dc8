"""The guides are true: links, commands, names and sentences are those of today.

Code blocks that are marked with `<!-- runs -->` are run, those of a page one
after another in one folder; the programs read the flags of the others.
"""
import ast
import functools
import json
import os
import re
import stat
import subprocess
import sys

import pytest

from configs import loading, schema
from resnet.run.events import tags
from tests import guides, processes
from tests.configs import fields_page

# Flags of other programs, or that ours answer with a hint.
_FOREIGN = {'logdir', 'partition', 'nv', 'append', 'resume', 'lr', 'epochs'}
_TRAINER = 'resnet.train'
_GROUPS = (*tags.GROUPS, 'pictures')
_HAND_WRITTEN = [page for page in guides.PAGES if page != fields_page.PAGE]
_SOURCES = [path for package in ('configs', 'launch', 'pipelines', 'resnet')
            for path in (guides.ROOT / package).rglob('*.py')]

pages = pytest.mark.parametrize('page', _HAND_WRITTEN, ids=guides.name)
pages_of_today = pytest.mark.parametrize('page', [  # Without names of old.
    page for page in _HAND_WRITTEN if page.name != 'CHANGELOG.md'],
                                         ids=guides.name)


def test_blocks_commands_and_anchors_are_found():
  page = ('# A & B: `c_d`\n<!-- needs: x -->\n```sh\nA=1 srun python -m \\\n'
          "  resnet.train --a='b c' ... > f  # d\ncat <<'END' | resnet-runs R\n"
          'python -m no.such\nEND\npip -m pip\n```\n```\nout\n```\n')
  shell, out = guides.blocks(page)
  assert (shell.mark, shell.language) == ('needs: x', 'sh')
  assert out == ('', '', 'out\n')
  assert list(guides.commands(shell.text)) == [
      ('resnet.train', ('--a=b c',)), ('resnet.runs', ('R',))]
  assert guides.anchors(page) == {'a--b-c_d'}


@pages
def test_links_lead_somewhere(page):
  text = guides.without_blocks(guides.read(page))
  for target in re.findall(r'\]\(([^)\s]+)\)', text):
    if target.startswith('https://'):
      continue
    file, _, anchor = target.partition('#')
    there = page.parent / file if file else page
    assert there.exists(), target
    if anchor:
      assert anchor in guides.anchors(guides.read(there)), target


@pages
def test_every_block_says_how_it_is_run(page):
  for block in guides.blocks(guides.read(page)):
    kind, _, what = block.mark.partition(': ')
    if block.language in guides.OUTPUT:
      assert not kind
    elif kind in ('train', 'test'):  # Tests and CI run them.
      assert guides.name(page) == 'README.md'
    elif kind == 'runs in':
      assert page.name in (guides.ROOT / what).read_text(encoding='utf-8')
    else:
      assert kind == 'runs' or kind in ('needs', 'file') and what, block


_RUNNING = [page for page in _HAND_WRITTEN if any(
    block.mark == 'runs' for block in guides.blocks(guides.read(page)))]


@pytest.mark.slow
@pytest.mark.parametrize('page', _RUNNING, ids=guides.name)
def test_blocks_run(page, tmp_path):
  python = tmp_path / 'bin' / 'python'
  python.parent.mkdir()
  python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
  python.chmod(stat.S_IRWXU)
  folder = tmp_path / 'folder'
  folder.mkdir()
  for block in guides.blocks(guides.read(page)):
    kind, _, what = block.mark.partition(': ')
    if kind == 'file':
      (folder / what).write_text(block.text)
    elif kind == 'runs':
      ended = subprocess.run(
          ['bash', '-euo', 'pipefail', '-c', block.text], cwd=folder,
          capture_output=True, text=True, timeout=300, env={
              **os.environ, 'PYTHONPATH': str(guides.ROOT),
              'PATH': f'{python.parent}:{os.environ["PATH"]}'})
      assert ended.returncode == 0, f'{block.text}\n{ended.stderr}'


def _commands():
  """Yields all commands, and those that launchers give to the trainer."""
  for block in (one for page in _HAND_WRITTEN
                for one in guides.blocks(guides.read(page))):
    if block.language == 'sh':
      for command in guides.commands(block.text):
        own, end, given = _divided(command.words)
        if end or command.module == 'launch.doctor.__main__':
          recipe = [w for w in own if w.startswith('--config=')]  # Of a sweep.
          yield guides.Command(_TRAINER, (*recipe, *given) if given else own)
        if not command.module.startswith('tests.'):
          yield command


def _divided(words):
  """Returns the words before --, it, and those behind it."""
  at = words.index('--') if '--' in words else len(words)
  return words[:at], words[at:at + 1], words[at + 1:]


def test_programs_read_the_flags_of_all_commands(tmp_path):
  for page in _HAND_WRITTEN:
    for block in guides.blocks(guides.read(page)):
      kind, _, what = block.mark.partition(': ')
      if kind == 'file':
        (tmp_path / what).write_text(block.text)
  found = sorted(set(_commands()))
  assert len(found) > 60
  ended = subprocess.run(
      [sys.executable, '-m', 'tests.command_flags'], cwd=tmp_path, text=True,
      input=json.dumps(found), capture_output=True, check=False,
      env={**os.environ, 'PYTHONPATH': str(guides.ROOT)})
  assert (ended.returncode, ended.stdout, ended.stderr) == (0, '', '')


@functools.cache
def _nodes():
  """Returns all parts of the programs' code, as ast has them."""
  paths = [*_SOURCES, *(guides.ROOT / 'tests' / name for name in (
      'chaos/__main__.py', 'configs/keep_run.py', 'keras_fit.py'))]
  return [node for path in paths
          for node in ast.walk(ast.parse(path.read_text(encoding='utf-8')))]


@functools.cache
def _flags():
  """Returns the names of all flags that the programs define."""
  defining = re.compile(r'(\bDEFINE\w*|\bdefine|Flag|\badd_argument)$')
  words = [str(argument.value).removeprefix('--') for node in _nodes()
           if isinstance(node, ast.Call)
           and defining.search(ast.unparse(node.func))
           for argument in node.args[:2] if isinstance(argument, ast.Constant)]
  return {'config', 'verbosity', *filter(
      re.compile('[a-z][a-z_]*').fullmatch, words)}


@pages_of_today
def test_flags_fields_and_recipes_exist(page):
  text, flags = guides.read(page), _flags() | _FOREIGN
  if page.name == 'COMING_FROM.md':  # Of tables, the first column is ours.
    text = re.sub(r'^(\|[^|]*\|).*$', r'\1', text, flags=re.MULTILINE)
  for name in re.findall(r'(?<![\w-])--([a-z][\w-]*)', text):
    assert ('-' in name or name in flags
            or name.removeprefix('no') in flags), name
  fields = schema.plain_fields(schema.Config())
  groups = {path.partition('.')[0] for path in fields}
  for name in re.findall(r'\bconfig\.([a-z]\w*(?:\.[a-z]\w*)?)', text):
    if name != 'json':
      assert name in fields or name in groups, name
  for name in re.findall(r'--config=([\w./]+)', text):
    assert (name.endswith('.py') or name in loading.names()
            or name.strip('.') in ('', 'NAME')), name


@pages
def test_extras_exist(page):
  for extra in re.findall(r'\.\[(\w+)\]', guides.read(page)):
    assert extra in guides.SETUP['options.extras_require'], extra


@pages_of_today
def test_tags_modules_and_files_exist(page):
  text = guides.read(page)
  sources = '\n'.join(path.read_text(encoding='utf-8') for path in _SOURCES)
  for group, name in re.findall(rf'`({"|".join(_GROUPS)})/(\w+)`', text):
    if group in tags.GROUPS:
      assert tags.tag(name) == f'{group}/{name}', name
    else:
      assert f'{group}/{name}' in sources, name
  for path in re.findall(
      r'`((?:configs|launch|pipelines|resnet|tests)/[\w/.]+)`', text):
    assert (guides.ROOT / path).exists(), path
  for module in re.findall(r'python -m (\w+[\w.]*\w)', text):
    path = guides.ROOT / module.replace('.', '/')
    assert (path.with_suffix('.py').exists()
            or (path / '__main__.py').exists()
            or module in ('pip', 'venv', 'pytest', 'build')), module


def test_the_page_of_fields_is_what_the_schema_says():
  assert guides.read(fields_page.PAGE) == fields_page.text(), (
      'run `python -m tests.configs.fields_page`')


def _texts():
  """Returns all strings of the programs, with \\0 for values in them."""
  found = []
  for node in _nodes():
    if isinstance(node, ast.JoinedStr):
      found.append(''.join(
          str(part.value) if isinstance(part, ast.Constant) else '\0'
          for part in node.values))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
      found.append(node.value)
  return '\n'.join(found)


def test_the_sentences_of_trouble_are_those_of_the_programs():
  texts = _texts()
  pages = [guides.ROOT / 'resnet/run' / name
           for name in ('TROUBLE.md', 'EXACT.md')]
  quoted = [line for page in pages for line in re.findall(
      '^> (.+)$', guides.read(page), re.MULTILINE)]
  assert len(quoted) > 30
  for sentence in quoted:
    for part in sentence.split('...'):
      part = part.strip(' ().').removeprefix('warning: ')
      assert part in texts or len(part) < 4, (part, sentence)


def test_the_files_and_figures_of_a_run_are_described(tmp_path):
  run = tmp_path / 'run'
  result = processes.run(
      _TRAINER, '--config.train_epochs=2', '--log_every_steps=20',
      '--eval_every_epochs=1', f'--workdir={run}')
  assert result.code == 0, result.err
  text = guides.read(guides.ROOT / 'resnet/run/README.md')
  always = text[text.index('## Files'):text.index('If there was a reason')]
  described = set(re.findall(r'`([\w./]+)`', ''.join(
      re.findall(r'^\|[^|]*\|', always, re.MULTILINE))))
  assert described == {
      f'{path.name}/' if path.is_dir() else path.name
      for path in run.iterdir()}
  opening = guides.blocks(text[text.index('## On the screen'):])[0].text
  assert set(opening.splitlines()[:5]) <= set(result.err.splitlines())
  figures = set().union(*(
      json.loads(line) for line in (
          run / 'metrics.jsonl').read_text().splitlines()))
  named = set(re.findall(r'`(\w+)`', text))
  assert figures <= named, figures - named
  assert set().union(*tags.GROUPS.values()) <= named
