"""The schema refuses wrong values, each time in one exact sentence."""
import dataclasses
import json

import pytest

from configs import combinations, loading, schema
from configs.process import typed_fields
from configs.process.errors import UserError

_ALLOWED = {
    'model.name': [
        'resnet', 'keras_v1', 'keras_v2', 'resnet18_cifar10',
        'resnet18_cifar100', 'resnet18_flip', 'resnet18_mnist', 'baseline',
        'lenet5', 'alexnet8', 'vgg16', 'inception10', 'own'],
    'model.family': ['cifar', 'imagenet'],
    'model.version': ['v1', 'v1.5', 'v2'],
    'model.block': ['basic', 'bottleneck'],
    'model.stem': ['cifar', 'imagenet', 'deep'],
    'model.shortcut': ['B', 'A', 'D', 'none'],
    'data.center': ['channel', 'pixel'],
    'data.interpolation': ['bilinear', 'bicubic'],
    'augment.policy': ['none', 'rand_augment', 'trivial_augment',
                       'auto_cifar10', 'auto_imagenet'],
    'optimizer.name': ['sgd', 'adam', 'adamw', 'rmsprop', 'lars', 'lamb'],
    'optimizer.clip': ['none', 'norm', 'value', 'adaptive'],
    'schedule.name': ['constant', 'step', 'cosine', 'polynomial'],
    'monitor.metric': ['accuracy', 'top5_accuracy', 'loss'],
    'loss': ['softmax', 'sigmoid'],
    'precision': ['float32', 'bfloat16', 'float16'],
    'reduce_precision': ['float32', 'bfloat16', 'float16'],
}
# What is said of numbers out of range, and those of the fields with that range
# that are allowed at its ends.
_LIMITS = {
    'of at least 0': ((0, 1e300), [
        'schedule.peak', 'schedule.end', 'optimizer.clip_at',
        'monitor.plateau_floor']),
    'of at least 0 and less than 1': ((0, 0.999), [
        'label_smoothing', 'optimizer.momentum', 'optimizer.beta_1',
        'optimizer.beta_2', 'model.batch_norm_momentum', 'model.dropout',
        'model.stochastic_depth', 'augment.shift', 'ema.decay']),
    'from 0.01 to 1': ((0.01, 1), ['data.eval_crop', 'finetune.layer_decay']),
    'of 0, or from 0.001 to 100': ((0, 0.001, 100), [
        'augment.mixup', 'augment.cutmix']),
    'from 0 to 1': ((0, 1), [
        'augment.smallest_crop', 'augment.largest_crop', 'augment.grayscale',
        'augment.blur', 'augment.mix_probability', 'augment.erasing',
        'model.batch_norm_epsilon', 'optimizer.epsilon',
        'monitor.plateau_factor', 'recovery.rate_factor']),
    'from 0 to 10': ((0, 10), ['augment.magnitude', 'optimizer.weight_decay']),
    'from 0 to 100': ((0, 100), [
        'augment.brightness', 'augment.contrast', 'augment.saturation',
        'schedule.power', 'optimizer.trust']),
    'from 1 to 16': ((1, 16), ['synthetic.channels']),
    'from 1 to 64': ((1, 64), ['model.inner_width']),
    'from 1 to 100': ((1, 100), ['augment.layers']),
    'from 0 to 1000': ((0, 1000), ['recovery.most']),
    'from 0 to 1024': ((0, 1024), ['model.squeeze_excite']),
    'from 1 to 1024': ((1, 1024), ['model.width', 'model.groups']),
    'from 1 to 2000': ((1, 1202, 2000), ['model.depth']),
    'from 1 to 4096': ((1, 4096), ['optimizer.accumulate']),
    'from 0 to 8192': ((0, 8192), [
        'augment.crop_padding', 'augment.cutout', 'data.image_size',
        'data.eval_size', 'data.pad_to']),
    'from 1 to 8192': ((1, 8192), ['synthetic.size']),
    'from 2 to 100000': ((2, 100000), ['synthetic.classes']),
    'from 1 to 1048576': ((1, 1048576), [
        'global_batch', 'eval_batch', 'augment.repeats']),
    'from 0 to 1048576': ((0, 1048576), ['schedule.peak_batch']),
    'from 0 to 1000000': ((0, 1000000), [
        'schedule.warmup_epochs', 'train_epochs', 'augment.mix_epochs',
        'monitor.plateau_evals', 'monitor.stop_evals', 'recovery.jump']),
    'from 2 to 100000000': ((2, 100000000), ['synthetic.examples']),
    'from 0 to 1000000000000': ((0, 1000000000000), ['train_steps']),
    'from 0 to 4294967295': ((0, 4294967295), ['seed']),
}


def _config(**changes):
  """A valid config with fields replaced: {'model.depth': 56}."""
  config = schema.Config(train_steps=10)
  for path, value in changes.items():
    group, _, name = path.rpartition('.')
    setattr(getattr(config, group) if group else config, name, value)
  return config


def _refusal(**changes):
  with pytest.raises(UserError) as error:
    combinations.check(_config(**changes))
  return str(error.value)


def _check_alone(config):
  """Checks each value by itself: some need others to have an effect."""
  typed_fields.check_types(config)
  typed_fields.check_limits(config)


def _paths():
  """Every field, read from the dataclasses themselves."""
  for field in dataclasses.fields(schema.Config):
    group = getattr(schema.Config(), field.name)
    if dataclasses.is_dataclass(group):
      for inner in dataclasses.fields(group):
        yield f'{field.name}.{inner.name}'
    else:
      yield field.name


@pytest.mark.parametrize('path', list(_paths()))
def test_every_field_is_type_checked(path):
  assert _refusal(**{path: None}).startswith(
      f'config.{path}=None has the wrong type: give ')


@pytest.mark.parametrize('path, value, given, wanted', [
    ('seed', 1.0, '1.0', 'a whole number'),
    ('seed', '1', "'1'", 'a whole number'),
    ('seed', True, 'True', 'a whole number'),
    ('schedule.peak', 'fast', "'fast'", 'a number'),
    ('schedule.peak', True, 'True', 'a number'),
    ('schedule.peak', float('nan'), 'nan', 'a number'),
    ('train_epochs', float('inf'), 'inf', 'a number'),
    ('model.name', 18, '18', 'a word'),
    ('augment.flip', 1, '1', 'true or false'),
    ('augment.flip', 'true', "'true'", 'true or false'),
    ('schedule.drops_at', [0.5], '[0.5]',
     'a tuple of numbers such as 0.5,0.75'),
    ('schedule.drops_at', 0.5, '0.5', 'a tuple of numbers such as 0.5,0.75'),
    ('schedule.drops_at', (0.5, 'x'), "'x'", 'a number'),
    ('data.mean', (0.5, True), 'True', 'a number'),
])
def test_wrong_type(path, value, given, wanted):
  assert _refusal(**{path: value}) == (
      f'config.{path}={given} has the wrong type: give {wanted}.')


@pytest.mark.parametrize('path, value', [
    ('schedule.peak', 1), ('schedule.drops_at', (0, 0.5)),
    ('schedule.drops_at', ()), ('data.mean', (-1, 2.5, 300))])
def test_whole_numbers_pass_as_numbers_and_tuples_may_be_empty(path, value):
  assert combinations.check(_config(**{path: value})) is None


@pytest.mark.parametrize('path', _ALLOWED)
def test_unknown_words_are_refused_with_the_known_ones(path):
  for word in _ALLOWED[path]:
    _check_alone(_config(**{path: word}))
  assert _refusal(**{path: 'other'}) == (
      f"config.{path}='other' is unknown: choose one of "
      f'{", ".join(_ALLOWED[path])}.')


@pytest.mark.parametrize('path, limits', [
    (path, limits) for limits, (_, paths) in _LIMITS.items() for path in paths])
def test_numbers_below_the_minimum_and_above_the_maximum(path, limits):
  allowed, _ = _LIMITS[limits]
  for value in allowed:
    _check_alone(_config(**{path: value}))
  wrong = [min(allowed) - 1]
  if limits != 'of at least 0':
    wrong.append(max(allowed) + 1)
  for value in wrong:
    assert _refusal(**{path: value}) == (
        f'config.{path}={value} is out of range: give a value {limits}.')


def test_every_number_has_limits():
  with_limits = {path for _, paths in _LIMITS.values() for path in paths}
  assert with_limits | {
      'data.mean', 'data.stddev', 'augment.sizes', 'augment.crop_ratio',
      'finetune.frozen', 'optimizer.decayed', 'schedule.drops_at',
      'schedule.drop_factors', 'class_weights'} == {
          path for path in _paths() if not isinstance(
              schema.plain_fields(schema.Config())[path], str | bool)}


def test_minimum_holds_for_each_item_of_a_tuple():
  assert _refusal(**{'schedule.drops_at': (0.5, -0.25)}) == (
      'config.schedule.drops_at=(0.5, -0.25) is out of range: give a value of '
      'at least 0 and less than 1.')


@pytest.mark.parametrize('path', _LIMITS['of at least 0 and less than 1'][1])
def test_shares_are_less_than_one(path):
  _check_alone(_config(**{path: 0.999}))
  assert _refusal(**{path: 1.0}) == (
      f'config.{path}=1.0 is out of range: give a value of at least 0 and '
      'less than 1.')


def test_rates_drop_inside_the_run():
  assert _refusal(**{'schedule.drops_at': (0.5, 1.5)}) == (
      'config.schedule.drops_at=(0.5, 1.5) is out of range: give a value of at '
      'least 0 and less than 1.')


@pytest.mark.parametrize('epochs, steps', [(0, 0), (2.5, 10)])
def test_the_length_must_be_set_exactly_once(epochs, steps):
  assert _refusal(train_epochs=epochs, train_steps=steps) == (
      f'config.train_epochs={epochs} and config.train_steps={steps} do not '
      'define the length of the run: set one of them to a positive value and '
      'the other to 0.')


def test_either_length_is_enough():
  assert combinations.check(_config(train_epochs=2.5, train_steps=0)) is None
  assert combinations.check(_config(train_epochs=0.0, train_steps=10)) is None


@pytest.mark.parametrize('recipe', loading.names())
def test_recipes_survive_json(recipe):
  config = loading.load(recipe)
  values = json.loads(json.dumps(schema.to_dict(config)))
  again = schema.from_dict(values)
  assert again == config
  assert schema.differences(config, again) == []


def test_to_dict_is_plain_and_nested():
  values = schema.to_dict(_config(**{'data.mean': (1.5, 2.0, 3.0), 'seed': 7}))
  assert values['data'] == {
      'name': 'digits', 'train_split': 'train', 'eval_split': 'test',
      'center': 'channel', 'image_size': 0, 'eval_crop': 0.875,
      'eval_size': 0, 'interpolation': 'bilinear', 'eval_flip': False,
      'pad_to': 0, 'mean': [1.5, 2.0, 3.0], 'stddev': []}
  assert values['seed'] == 7
  assert list(values) == [
      'model', 'data', 'synthetic', 'augment', 'optimizer', 'schedule',
      'monitor', 'ema', 'recovery', 'finetune', 'loss', 'class_weights',
      'label_smoothing', 'precision', 'reduce_precision', 'global_batch',
      'eval_batch', 'train_epochs', 'train_steps', 'seed', 'code']


def test_from_dict_fills_in_defaults():
  config = schema.from_dict(
      {'data': {'mean': [1.0, 2.0]}, 'model': {'depth': 56}, 'seed': 3})
  assert config == schema.Config(
      data=schema.Data(mean=(1.0, 2.0)), model=schema.Model(depth=56), seed=3)


def test_from_dict_refuses_fields_of_another_version():
  with pytest.raises(UserError) as error:
    schema.from_dict({'augment': {'flip': True, 'swirl': 0.2}})
  assert str(error.value) == (
      'config.augment.swirl does not exist in this version (its fields are '
      f'{", ".join(vars(schema.Augment()))}): use the version that '
      'wrote the config.')


@pytest.mark.parametrize('name, most', [
    ('smallest_crop', 1), ('erasing', 1), ('magnitude', 10)])
def test_numbers_just_above_the_maximum_are_refused(name, most):
  assert combinations.check(_config(**{f'augment.{name}': float(most)})) is None
  assert _refusal(**{f'augment.{name}': most + 0.5}) == (
      f'config.augment.{name}={most + 0.5} is out of range: give a value from '
      f'0 to {most}.')


@pytest.mark.parametrize('mean, stddev', [
    ((1001.0,), ()), ((), (1001.0,)), ((0.0, -1001.0), ()), ((), (-1.0,))])
def test_statistics_that_no_image_has(mean, stddev):
  assert 'is out of range' in _refusal(
      **{'data.mean': mean, 'data.stddev': stddev})


def test_a_run_uses_positions_of_48_bits():
  assert combinations.check(
      _config(train_steps=2**28, global_batch=2**20)) is None
  assert _refusal(train_steps=2**28 + 1, global_batch=2**20) == (
      'config.train_steps=268435457 with config.global_batch=1048576 takes '
      'more than 281474976710656 images: give at most 268435456 steps.')


@pytest.mark.parametrize('changes, sides, words', [
    ({'cutout': 33}, (32, 40), 'config.augment.cutout=33 erases a square that '
     'is larger than images of 32 pixels a side: give at most 32.'),
    ({'cutout': 17, 'sizes': (16, 32)}, (32, 32), 'give at most 16.'),
    ({'crop_padding': 32}, (40, 32), 'config.augment.crop_padding=32 can shift '
     'everything out of images of 32 pixels a side: give at most 31.'),
    ({'cutout': 32, 'crop_padding': 31}, (32, 32), None),
    ({}, (1, 1), None),
])
def test_augmentation_leaves_something_of_the_image(changes, sides, words):
  config = schema.Config(
      data=schema.Data(image_size=32 if 'sizes' in changes else 0),
      augment=schema.Augment(**changes))
  if words is None:
    combinations.check_images(config, *sides)
  else:
    with pytest.raises(UserError) as error:
      combinations.check_images(config, *sides)
    assert str(error.value).endswith(words)


class _Unprintable:
  def __repr__(self):
    raise RuntimeError


@pytest.mark.parametrize('path, value, words', [
    ('model', None, 'config.model=None has the wrong type: give a '
     'configs.schema.Model.'),
    ('augment', schema.Model(), 'give a configs.schema.Augment.'),
    ('data', schema.Data, 'give a configs.schema.Data.'),
    ('optimizer', {'name': 'sgd'}, "config.optimizer={'name': 'sgd'} has the"),
    pytest.param('seed', 10**5000, 'config.seed=<int> is out of range',
                 id='seed'),
    ('seed', _Unprintable(), 'config.seed=<_Unprintable> has the wrong type'),
    ('train_epochs', 10**400, 'has the wrong type: give a number'),
    pytest.param('label_smoothing', -10**5000, 'has the wrong type: give a num',
                 id='label_smoothing'),
])
def test_whatever_a_recipe_holds(path, value, words):
  assert words in _refusal(**{path: value})


@pytest.mark.parametrize('text', ['a\nb', 'a\0', 'a\udcff', '\x1b[2J'])
def test_texts_that_are_no_names(text):
  assert 'has control characters, or is not UTF-8' in _refusal(
      **{'data.name': text})


@pytest.mark.parametrize('path, near', [
    ('model.wdith', 'config.model.width'), ('trian_steps', 'config.train_steps')
])
def test_misspelt_attributes_are_not_ignored(path, near):
  assert _refusal(**{path: 5}).startswith(
      f'config.{path} does not exist (did you mean {near}?): ')


@pytest.mark.parametrize('values', [
    5, None, [], {'model': 5}, {'model': None}, {'data': []}])
def test_from_dict_refuses_what_is_no_object(values):
  with pytest.raises(UserError, match='has the wrong type: give a JSON object'):
    schema.from_dict(values)


def test_sizes_need_images_that_are_resized():
  assert combinations.check(_config(
      **{'augment.sizes': (128, 224), 'data.image_size': 224})) is None
  assert _refusal(**{'augment.sizes': (128, 224)}) == (
      'config.augment.sizes=(128, 224) resizes images, but '
      'config.data.image_size=0 does not: set image_size to the size for '
      'evaluation, or sizes to ().')
  assert 'give a value from 1 to 8192' in _refusal(
      **{'augment.sizes': (0, 224), 'data.image_size': 224})


def test_the_batch_must_be_a_multiple_of_repeats():
  assert combinations.check(_config(global_batch=12,
                              **{'augment.repeats': 3})) is None
  assert _refusal(global_batch=13, **{'augment.repeats': 3}) == (
      'config.global_batch=13 is not divisible by config.augment.repeats=3: '
      'give a multiple of 3.')


def test_differences_name_each_field_with_both_values():
  ours = _config(**{'model.depth': 20, 'schedule.drops_at': (0.5,), 'seed': 0})
  theirs = _config(
      **{'model.depth': 56, 'schedule.drops_at': (0.25, 0.5), 'seed': 1})
  assert schema.differences(ours, theirs) == [
      'config.model.depth: 20 -> 56',
      'config.schedule.drops_at: (0.5,) -> (0.25, 0.5)',
      'config.seed: 0 -> 1']


@pytest.mark.parametrize('path, near', [
    # Misspelt: the nearest name.
    ('model.dpeth', ' (did you mean config.model.depth?)'),
    # Group misspelt.
    ('modell.width', ' (did you mean config.model.width?)'),
    # Group forgotten, or the wrong one: the same name elsewhere.
    ('depth', ' (did you mean config.model.depth?)'),
    ('augment.weight_decay', ' (did you mean config.optimizer.weight_decay?)'),
    # Another program's name, spelt well or not.
    ('optimizer.lr', ' (did you mean config.schedule.peak?)'),
    ('lerning_rate', ' (did you mean config.schedule.peak?)'),
    # Like nothing at all.
    ('zzz', ''), ('network.zzz', ''),
])
def test_unknown_field_suggests(path, near):
  assert typed_fields.unknown(path, schema.Config()) == (
      f'config.{path} does not exist{near}: `python -m resnet.train --help` '
      'lists the fields.')


@pytest.mark.parametrize('path, words', [
    ('seed', 'a whole number'), ('schedule.peak', 'a number'),
    ('model.name', 'a word'), ('augment.flip', 'true or false'),
    ('schedule.drops_at', 'a tuple of numbers such as 0.5,0.75'),
    ('augment.sizes', 'a tuple of whole numbers such as 128,224')])
def test_type_name(path, words):
  assert typed_fields.type_name(path, schema.Config()) == words


def test_type_name_of_an_unknown_field():
  with pytest.raises(KeyError, match='model.size'):
    typed_fields.type_name('model.size', schema.Config())


def test_a_standard_deviation_must_be_positive():
  config = schema.Config(train_steps=1)
  config.data.stddev = (1.0, 0.0)
  with pytest.raises(UserError, match=r'config.data.stddev=\(1.0, 0.0\)'):
    combinations.check(config)
