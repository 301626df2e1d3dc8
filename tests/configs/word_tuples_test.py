"""Tuples of words need no quotes on the command line."""
import pytest

from configs.process import word_tuples
from tests.configs.loading_test import _parse

_NAMES = ('config.finetune.frozen',)


@pytest.mark.parametrize('words, value', [
    (['--config.finetune.frozen=stem,stage1'], ('stem', 'stage1')),
    (['--config.finetune.frozen', '*kernel,logits/*'], ('*kernel', 'logits/*')),
    (['-config.finetune.frozen=stage1_*'], ('stage1_*',)),
    (['--config.finetune.frozen=stage[12]_*'], ('stage[12]_*',)),
    (['--config.finetune.frozen=stage[12]_*,stem'], ('stage[12]_*', 'stem')),
    (['--config.finetune.frozen=stem,'], ('stem',)),
    (['--config.finetune.frozen='], ()),
    (['--config.finetune.frozen=()'], ()),
    (["--config.finetune.frozen=('stem', 'a,b')"], ('stem', 'a,b')),
    (['--config.optimizer.decayed=*kernel,logits/*'], ())])
def test_a_tuple_of_words(words, value):
  config, *_ = _parse(*words)
  assert config.finetune.frozen == value
  if 'decayed' in words[0]:
    assert config.optimizer.decayed == ('*kernel', 'logits/*')


@pytest.mark.parametrize('words', [
    ['--config.seed=1,2', '--config.data.mean=1,2', 'a,b'],
    ['--config.finetune.frozen']])
def test_what_is_no_tuple_of_words_stays(words):
  assert word_tuples.quoted(words, _NAMES) == words
