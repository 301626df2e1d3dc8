"""The pages of the project, their blocks of code, and the commands in them."""
from collections.abc import Iterator
import configparser
import pathlib
import re
import shlex
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob('*.md'), *(
    page for package in ('configs', 'launch', 'pipelines', 'resnet', 'tests')
    for page in (ROOT / package).rglob('*.md'))])
OUTPUT = ('', 'text')  # Languages of blocks that are not to be run.
_BLOCK = re.compile(
    r'^(?:<!-- (.*?) -->\n)?```(\w*)\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_HERE_DOCUMENT = re.compile(r"(<<'(\w+)'.*?\n).*?^\2$\n?", re.M | re.S)
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / 'setup.cfg')
_INSTALLED = dict(re.findall(r'(resnet-[\w-]+) = ([\w.]+):', SETUP[
    'options.entry_points']['console_scripts']))
_OURS = ('configs', 'launch', 'pipelines', 'resnet', 'tests')


class Block(NamedTuple):
  """A block of code of a page."""
  mark: str  # The comment in front of it: 'runs', 'needs: GPUs', ...
  language: str
  text: str


class Command(NamedTuple):
  """A command that starts a program of the project."""
  module: str  # 'resnet.train', 'launch.local.__main__'
  words: tuple[str, ...]


def name(page: pathlib.Path) -> str:
  """Returns the path of a page below the root."""
  return page.relative_to(ROOT).as_posix()


def read(page: pathlib.Path) -> str:
  """Returns the text of a page."""
  return page.read_text(encoding='utf-8')


def blocks(text: str) -> list[Block]:
  """Returns the blocks of code of a page."""
  return [Block(mark or '', language, code)
          for mark, language, code in _BLOCK.findall(text)]


def without_blocks(text: str) -> str:
  """Returns a page without its blocks of code."""
  return _BLOCK.sub('', text)


def anchors(text: str) -> set[str]:
  """Returns what links can have behind #, as GitHub makes it from headings."""
  headings = re.findall(r'^#+ (.+)$', without_blocks(text), re.MULTILINE)
  return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')
          for heading in headings}


def commands(shell: str) -> Iterator[Command]:
  """Yields the commands of a block in sh that start one of our programs."""
  shell = _HERE_DOCUMENT.sub(r'\1', shell).replace('\\\n', ' ')
  for line in shell.splitlines():
    for words in _simple(line):
      command = _ours(words)
      if command:
        yield command


def _simple(line):
  """Yields the words of each simple command of a line."""
  lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
  lexer.whitespace_split = True
  words = []
  for word in lexer:
    if set(word) <= set('();<>|&'):
      yield words
      words = []
    else:
      words.append(word)
  yield words


def _ours(words):
  """Returns the Command that the words start; None if they start none."""
  for at, word in enumerate(words):
    if word in _INSTALLED:
      return Command(_INSTALLED[word], _given(words[at + 1:]))
    if word == '-m' and words[at + 1].partition('.')[0] in _OURS:
      module = words[at + 1]
      package = ROOT.joinpath(*module.split('.'), '__main__.py').exists()
      return Command(module + '.__main__' * package, _given(words[at + 2:]))
  return None


def _given(words):
  """Leaves out what stands for other words."""
  return tuple(word for word in words
               if word != '...' and not word.startswith('$'))
