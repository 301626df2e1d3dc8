"""Single flags of a command line are read in all forms that absl accepts."""
import pytest

from configs.process import flag_words


@pytest.mark.parametrize('word, name', [
    ('--name=value', 'name'), ('-name=value', 'name'), ('--name', 'name'),
    ('-name', 'name'), ('--noname', 'noname'), ('--a.b=1', 'a.b'),
    ('--name=a=b', 'name'), ('--name=', 'name'), ('--name=--x', 'name'),
    ('name=value', None), ('name', None), ('', None), ('-', None),
    ('--', None), ('---', None)])
def test_name_of(word, name):
  assert flag_words.name_of(word) == name


@pytest.mark.parametrize('words, value, others', [
    (['--n=v'], 'v', []),
    (['-n=v'], 'v', []),
    (['--n', 'v'], 'v', []),
    (['-n', 'v'], 'v', []),
    # The last one counts, in whatever form; all are taken out.
    (['--n=1', '--n', '2', '-n=3'], '3', []),
    (['--n=1', '-n', '2'], '2', []),
    (['--n', '1', '--n='], '', []),
    # Values are not looked into.
    (['--n=a=b'], 'a=b', []),
    (['--n', 'a=b'], 'a=b', []),
    (['--n=a\nb'], 'a\nb', []),
    (['--n', 'a\nb'], 'a\nb', []),
    (['--n', '--m=1'], '--m=1', []),
    (['--n', '--n', 'x'], '--n', ['x']),
    (['--n=', 'x'], '', ['x']),
    # A missing value.
    (['--n'], '', []),
    (['x', '-n'], '', ['x']),
    # Other words keep their order.
    (['a', '--m=1', '--n=v', 'b', '--', ''], 'v',
     ['a', '--m=1', 'b', '--', '']),
    ([], None, []),
    (['--nn=v', '--N=v', 'n=v', 'n', '--x', '-', '--'], None,
     ['--nn=v', '--N=v', 'n=v', 'n', '--x', '-', '--']),
    # A flag with a value has no negative form.
    (['--non'], None, ['--non']),
])
def test_take(words, value, others):
  before = list(words)
  assert flag_words.take('n', words) == (value, others)
  assert words == before


def test_take_a_name_with_a_dot():
  words = ['--config.seed=1', '--configXseed=2', '--config.seeds=3']
  assert flag_words.take('config.seed', words) == ('1', words[1:])


@pytest.mark.parametrize('words, names', [
    (['--n=v'], ['n']), (['-n=v'], ['n']), (['--n', 'v'], ['n']),
    (['--n'], ['n']), (['--non'], ['n']), (['-non'], ['n']),
    (['--m', '--n'], ['n', 'm']),  # In the order that was asked for.
    (['--n=1', '--n=2'], ['n']),
    (['n', '--nn', '--nonn', '--o=--n', '--', ''], []), ([], [])])
def test_given(words, names):
  assert flag_words.given(['n', 'm'], words) == names


@pytest.mark.parametrize('words, found', [
    (['--c.a=1', '--d', '--c.b=x=y\nz'], ['--c.a=1', '--c.b=x=y\nz']),
    (['-c.a=1', '--c.a', '2', 'x'], ['-c.a=1', '--c.a', '2']),
    (['--c.flip', '--d=1'], ['--c.flip']),
    (['--noc.flip', '--c.flip'], ['--noc.flip', '--c.flip']),
    (['--c.a', '-1'], ['--c.a', '-1']),  # A negative number.
    (['--c.a'], ['--c.a']),  # A missing value.
    (['c.a=1', '--d=--c.a', '--'], []), ([], [])])
def test_select(words, found):
  assert flag_words.select('c', words) == found
