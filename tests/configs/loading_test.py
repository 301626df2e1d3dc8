"""Recipes match their papers; a wrong command line gets one exact sentence."""
import ast
import pathlib
import re
import shlex

from absl import flags
import pytest

from configs import combinations, loading, schema
from configs.process.errors import UserError

_CIFAR10_RESNET20 = {
    # He et al. 2015, section 4.2.
    'model.family': 'cifar', 'model.depth': 20, 'model.version': 'v1',
    'model.block': 'basic', 'model.width': 16, 'model.stem': 'cifar',
    'model.shortcut': 'A', 'model.zero_init_last_gamma': False,
    'data.name': 'cifar10', 'data.center': 'pixel', 'data.mean': (),
    'augment.crop_padding': 4, 'augment.flip': True,
    'optimizer.name': 'sgd', 'optimizer.momentum': 0.9,
    'optimizer.nesterov': False, 'optimizer.weight_decay': 0.0001,
    'schedule.name': 'step', 'schedule.peak': 0.1,
    'schedule.drop_factors': (0.1,),
    'schedule.warmup_epochs': 0, 'label_smoothing': 0, 'precision': 'float32',
    'global_batch': 128, 'train_steps': 64000, 'train_epochs': 0}
_CIFAR10_RESNET18 = {
    'model.family': 'imagenet', 'model.depth': 18, 'model.version': 'v1',
    'model.width': 64, 'model.stem': 'cifar', 'model.shortcut': 'B',
    'data.name': 'cifar10', 'augment.crop_padding': 4, 'augment.flip': True,
    'optimizer.nesterov': True, 'optimizer.weight_decay': 0.0005,
    'schedule.name': 'cosine', 'schedule.peak': 0.1,
    'schedule.warmup_epochs': 1, 'global_batch': 128, 'train_epochs': 200}
_IMAGENET_RESNET50 = {
    # Goyal et al. 2017, sections 2 and 5.
    'model.family': 'imagenet', 'model.depth': 50, 'model.version': 'v1.5',
    'model.width': 64, 'model.stem': 'imagenet', 'model.shortcut': 'B',
    'model.zero_init_last_gamma': True,
    'data.name': 'imagenet2012', 'data.eval_split': 'validation',
    'data.image_size': 224, 'augment.smallest_crop': 0.08,
    'data.mean': (123.675, 116.28, 103.53),
    'data.stddev': (58.395, 57.12, 57.375), 'augment.flip': True,
    'optimizer.name': 'sgd', 'optimizer.momentum': 0.9,
    'optimizer.nesterov': True, 'optimizer.weight_decay': 0.0001,
    'schedule.name': 'step', 'schedule.peak': 0.4,
    'schedule.drop_factors': (0.1,),
    'schedule.warmup_epochs': 5, 'global_batch': 1024, 'train_epochs': 90}
_FACTS = {
    'cifar10_resnet20': _CIFAR10_RESNET20,
    'cifar10_resnet56_v2': _CIFAR10_RESNET20 | {
        'model.depth': 56, 'model.version': 'v2', 'model.block': 'bottleneck',
        'model.shortcut': 'B', 'schedule.warmup_epochs': 1},
    'cifar10_resnet18': _CIFAR10_RESNET18,
    'cifar100_resnet18': _CIFAR10_RESNET18 | {'data.name': 'cifar100'},
    'mnist_resnet18': _CIFAR10_RESNET18 | {
        'data.name': 'mnist', 'augment.crop_padding': 2, 'augment.flip': False,
        'train_epochs': 10},
    'fashion_mnist_resnet20': {
        'model.family': 'cifar', 'model.depth': 20, 'model.version': 'v1',
        'data.name': 'fashion_mnist', 'augment.crop_padding': 2,
        'augment.flip': True, 'schedule.name': 'cosine', 'schedule.peak': 0.1,
        'global_batch': 128},
    'digits_resnet8': {
        'model.family': 'cifar', 'model.depth': 8, 'data.name': 'digits',
        'augment.flip': False, 'schedule.name': 'cosine', 'eval_batch': 360},
    'imagenet_resnet50': _IMAGENET_RESNET50,
    'imagenet_resnet50_v2': _IMAGENET_RESNET50 | {
        'model.version': 'v2', 'model.zero_init_last_gamma': False},
    'imagenet_resnet50_d': _IMAGENET_RESNET50 | {
        'model.stem': 'deep', 'model.shortcut': 'D', 'augment.mixup': 0.2,
        'label_smoothing': 0.1, 'schedule.name': 'cosine', 'train_epochs': 200},
    'imagenet_resnext50': _IMAGENET_RESNET50 | {
        'model.groups': 32, 'model.inner_width': 2},
    'finetune_resnet50': {
        'model.family': 'imagenet', 'model.depth': 50, 'model.version': 'v1.5',
        'data.image_size': 224, 'augment.flip': True, 'optimizer.name': 'sgd',
        'optimizer.momentum': 0.9, 'optimizer.nesterov': True,
        'schedule.name': 'cosine', 'schedule.peak': 0.01,
        'schedule.peak_batch': 256},
}
_PICTURES_RESNET18 = {
    'model.family': 'imagenet', 'model.depth': 18, 'model.stem': 'imagenet',
    'data.image_size': 224, 'augment.smallest_crop': 0.35,
    'augment.flip': True, 'schedule.name': 'cosine',
    'schedule.warmup_epochs': 5, 'global_batch': 32, 'train_epochs': 100}
_FACTS |= {
    'pictures_resnet18': _PICTURES_RESNET18,
    'pictures_resnet50': _PICTURES_RESNET18 | {
        'model.depth': 50, 'global_batch': 64}}
_LISTED = '`python -m resnet.train --help` lists'


def _get(config, path):
  for name in path.split('.'):
    config = getattr(config, name)
  return config


def _parse(*words):
  """Parses a command line with some of the flags that programs have."""
  values = flags.FlagValues()
  for name in ('workdir', 'strategy', 'data_dir', 'init_from'):
    flags.DEFINE_string(name, None, '', flag_values=values)
  flags.DEFINE_integer('keep_last', 3, '', flag_values=values)
  flags.DEFINE_float('eval_every_epochs', 1.0, '', flag_values=values)
  parsed = loading.parse(['train', *words], values)
  return *parsed, values


def _refusal(*words):
  with pytest.raises(UserError) as error:
    _parse(*words)
  return str(error.value)


def test_names_are_those_of_all_recipes_and_of_nothing_else():
  names = [name for name in loading.names()
           if not name.startswith('tutorials/')]  # See tutorials_test.
  assert names == sorted(_FACTS)
  assert loading.DEFAULT == 'digits_resnet8'


@pytest.mark.parametrize('recipe', _FACTS)
def test_recipe_says_what_is_published(recipe):
  config = loading.load(recipe)
  combinations.check(config)
  assert {p: _get(config, p) for p in _FACTS[recipe]} == _FACTS[recipe]


@pytest.mark.parametrize('recipe', _FACTS)
def test_each_load_builds_a_new_config(recipe):
  first = loading.load(recipe)
  first.model.depth, first.augment.flip = 7, None
  assert loading.load(recipe).model.depth == _FACTS[recipe]['model.depth']
  assert loading.load(recipe).augment.flip is _FACTS[recipe]['augment.flip']


@pytest.mark.parametrize('recipe, run, drops', [
    ('cifar10_resnet20', 64_000, [32_000, 48_000]),  # Updates.
    ('cifar10_resnet56_v2', 64_000, [32_000, 48_000]),
    ('imagenet_resnet50', 90, [30, 60, 80]),  # Epochs.
    ('imagenet_resnet50_v2', 90, [30, 60, 80]),
])
def test_rate_drops_where_the_paper_drops_it(recipe, run, drops):
  shares = loading.load(recipe).schedule.drops_at
  assert [share * run for share in shares] == pytest.approx(drops)


@pytest.mark.parametrize('recipe', loading.names())
def test_commands_in_docstrings_parse(recipe):
  path = pathlib.Path(loading.__file__).parent / f'{recipe}.py'
  text = ast.get_docstring(ast.parse(path.read_text())).replace('\\\n', ' ')
  commands = re.findall(r'python -m resnet\.train(.*)', text)
  assert commands
  for command in commands:
    assert _parse(*shlex.split(command))[1] == recipe


def test_no_flags_mean_the_default_recipe():
  config, name, others, _ = _parse()
  assert (config, name, others) == (
      loading.load('digits_resnet8'), 'digits_resnet8', [])


@pytest.mark.parametrize('words', [
    ['--config=cifar10_resnet20', '--workdir=/a', 'x'],
    ['--workdir=/a', 'x', '--config=cifar10_resnet20'],
    ['--workdir=/a', '--config', 'cifar10_resnet20', 'x'],
    ['x', '-config=cifar10_resnet20', '-workdir=/a'],
    ['--config=mnist_resnet18', 'x', '--workdir', '/a',
     '--config=cifar10_resnet20'],
])
def test_config_flag_may_be_anywhere_and_the_last_counts(words):
  config, name, others, values = _parse(*words)
  assert config == loading.load('cifar10_resnet20')
  assert (name, others, values.workdir) == ('cifar10_resnet20', ['x'], '/a')


@pytest.mark.parametrize('words, path, value', [
    (['--config.model.depth=56'], 'model.depth', 56),
    (['--config.seed', '5'], 'seed', 5),
    (['-config.seed=5'], 'seed', 5),
    (['--config.seed=5', '--config.seed=6'], 'seed', 6),
    (['--config.schedule.peak=1'], 'schedule.peak', 1.0),
    (['--config.precision=bfloat16'], 'precision', 'bfloat16'),
    (['--config.optimizer.nesterov'], 'optimizer.nesterov', True),
    (['--config.optimizer.nesterov=true'], 'optimizer.nesterov', True),
    (['--config.augment.flip=false'], 'augment.flip', False),
    (['--noconfig.augment.flip'], 'augment.flip', False),
    (['--config.schedule.drops_at=0.3,0.6'], 'schedule.drops_at', (0.3, 0.6)),
    (['--config.schedule.drops_at=(0.3,0.6)'], 'schedule.drops_at', (0.3, 0.6)),
    (['--config.schedule.drops_at=0.3'], 'schedule.drops_at', (0.3,)),
    (['--config.schedule.drops_at=()'], 'schedule.drops_at', ()),
    (['--config.data.mean=1,2.5,3'], 'data.mean', (1, 2.5, 3)),
    (['--config.augment.policy=auto_cifar10'], 'augment.policy',
     'auto_cifar10'),
    (['--config.data.image_size=64'], 'data.image_size', 64),
])
def test_override_changes_one_field(words, path, value):
  config = _parse('--config=cifar10_resnet20', *words)[0]
  differences = schema.differences(loading.load('cifar10_resnet20'), config)
  assert _get(config, path) == value
  assert [line.partition(':')[0] for line in differences] == [f'config.{path}']


def test_length_is_changed_by_two_overrides():
  config = _parse('--config.train_epochs=0', '--config.train_steps=9')[0]
  assert (config.train_epochs, config.train_steps) == (0, 9)


_OWN_RECIPE = """
from configs import combinations, schema
def get_config():
  return schema.Config(seed=41, train_steps=10)
"""


def test_recipe_may_be_any_file(tmp_path):
  path = tmp_path / 'mine.py'
  path.write_text(_OWN_RECIPE)
  config, name, _, _ = _parse(f'--config={path}', '--config.model.depth=56')
  assert name == 'mine'
  assert config == schema.Config(
      seed=41, train_steps=10, model=schema.Model(depth=56))


def test_recipe_file_is_checked(tmp_path):
  path = tmp_path / 'mine.py'
  path.write_text(_OWN_RECIPE.replace('seed=41', 'seed="41"'))
  assert _refusal(f'--config={path}') == (
      "config.seed='41' has the wrong type: give a whole number.")


@pytest.mark.parametrize('words, recipe, near', [
    (['--config=cifar10_resnet02'], 'cifar10_resnet02', ' (did you mean '
     'cifar10_resnet20 or cifar10_resnet18 or cifar10_resnet56_v2?)'),
    (['--config=Digits_Resnet8'], 'Digits_Resnet8',
     ' (did you mean digits_resnet8?)'),
    (['--config=vgg16'], 'vgg16', ' (did you mean tutorials/cifar10_vgg16?)'),
    (['--config=schema'], 'schema', ''),
    (['--config='], '', ''),
    (['--workdir=/a', '--config'], '', ''),
])
def test_unknown_recipe(words, recipe, near):
  assert _refusal(*words) == (
      f'--config={recipe} is unknown{near}: give the path of a .py file or a '
      f'recipe; {_LISTED} them.')


def test_missing_recipe_file(tmp_path):
  path = tmp_path / 'mine.py'
  assert _refusal(f'--config={path}') == (
      f'--config={path} does not exist: give an existing .py file or a '
      f'recipe; {_LISTED} them.')


@pytest.mark.parametrize('text, reason', [
    ('1 / 0', 'ZeroDivisionError: division by zero'),
    ('def get_config(): return undefined',
     "NameError: name 'undefined' is not defined"),
    ('', "AttributeError: module 'recipe_mine' has no attribute 'get_config'"),
    ('from configs import schema\n'
     'def get_config(): return schema.Config(sede=1)',
     "TypeError: Config.__init__() got an unexpected keyword argument 'sede'"),
])
def test_recipe_file_that_fails(tmp_path, text, reason):
  path = tmp_path / 'mine.py'
  path.write_text(text)
  assert _refusal(f'--config={path}') == (
      f'--config={path} cannot be loaded ({reason}): fix the file, which must '
      'define a get_config() that returns a configs.schema.Config.')


def test_recipe_file_that_is_not_python(tmp_path):
  path = tmp_path / 'mine.py'
  path.write_text('def get_config(:')
  assert _refusal(f'--config={path}').startswith(
      f'--config={path} cannot be loaded (SyntaxError: ')


def test_recipe_file_with_a_sentence_of_its_own(tmp_path):
  path = tmp_path / 'mine.py'
  path.write_text('from configs.process.errors import UserError\n'
                  'raise UserError("Set FOO first.")')
  assert _refusal(f'--config={path}') == 'Set FOO first.'


def test_recipe_file_that_returns_something_else(tmp_path):
  path = tmp_path / 'mine.py'
  path.write_text('def get_config(): return {}')
  assert _refusal(f'--config={path}') == (
      f'--config={path} has a get_config() that returns a dict: return a '
      'configs.schema.Config.')


@pytest.mark.parametrize('word, sentence', [
    # No such field.
    ('--config.augment.flop=1', 'config.augment.flop does not exist (did you '
     f'mean config.augment.flip?): {_LISTED} the fields.'),
    ('--noconfig.augment.flop', 'config.augment.flop does not exist (did you '
     f'mean config.augment.flip?): {_LISTED} the fields.'),
    ('--config.depth=56', 'config.depth does not exist (did you mean '
     f'config.model.depth?): {_LISTED} the fields.'),
    ('--config.noseed', 'config.noseed does not exist (did you mean '
     f'config.seed?): {_LISTED} the fields.'),
    ('--config.__class__=1', 'config.__class__ does not exist: '
     f'{_LISTED} the fields.'),
    ('--config.optimiser.name=adam', 'config.optimiser.name does not exist '
     f'(did you mean config.optimizer.name?): {_LISTED} the fields.'),
    ('--config.optimizer.lerning_rate=1', 'config.optimizer.lerning_rate does '
     f'not exist (did you mean config.schedule.peak?): {_LISTED} the fields.'),
    ('--config.batch_size=1', 'config.batch_size does not exist (did you mean '
     f'config.global_batch?): {_LISTED} the fields.'),
    # A group.
    ('--config.model=resnet', 'config.model is a group: set one of its '
     f'fields, such as config.model.name; {_LISTED} them.'),
    # A value of the wrong type.
    ('--config.seed=many',
     'config.seed=many has the wrong type: give a whole number.'),
    ('--config.seed=1.5',
     'config.seed=1.5 has the wrong type: give a whole number.'),
    ('--config.schedule.peak=high',
     'config.schedule.peak=high has the wrong type: give a number.'),
    ('--config.train_epochs=inf',
     'config.train_epochs=inf has the wrong type: give a number.'),
    ('--config.augment.flip=maybe',
     'config.augment.flip=maybe has the wrong type: give true or false.'),
    ('--config.schedule.drops_at=half',
     "config.schedule.drops_at='half' has the wrong type: give a number."),
    # A value that is not allowed.
    ('--config.optimizer.name=adagrad', "config.optimizer.name='adagrad' is "
     'unknown: choose one of sgd, adam, adamw, rmsprop, lars, lamb.'),
    ('--config.optimizer.name=Adam', "config.optimizer.name='Adam' is unknown "
     '(did you mean adam?): choose one of sgd, adam, adamw, rmsprop, lars, '
     'lamb.'),
    ('--config.train_steps=10', 'config.train_epochs=30 and '
     'config.train_steps=10 do not define the length of the run: set one of '
     'them to a positive value and the other to 0.'),
    # Flags that are not fields.
    ('--zzz=1', '--zzz is unknown: --help lists the flags.'),
    ('--workdri=1', '--workdri is unknown (did you mean --workdir?): --help '
     'lists the flags.'),
    ('--keep_last=all', '--keep_last=all is not allowed: give an integer up '
     'to 2147483647.'),
])
def test_wrong_command_line(word, sentence):
  assert _refusal(word) == sentence


def test_field_of_a_field():
  assert _refusal('--config.model.name.upper=1').startswith(
      'config.model.name.upper does not exist (did you mean '
      'config.model.name?): ')
