"""The help of config fields comes from their one source, the schema."""
import pathlib
import re

from configs import field_help, loading, schema
from tests import processes


def test_comments_above_and_behind_fields_are_found():
  found = field_help.comments()
  # As they stand in schema.py: behind, above, over several lines.
  assert found['Model.blur_pool'] == 'Blurs before each stride (Zhang 2019).'
  assert found['Data.eval_flip'] == (
      'Averages the logits of an image and its mirror.')
  assert found['Optimizer.accumulate'] == (
      "Parts of each replica's batch whose gradients are computed in turn, and "
      'added.')
  assert 'Model.batch_norm_epsilon' not in found  # Its name says it.


def test_every_field_is_there_with_the_value_of_the_recipe():
  name = 'cifar10_resnet56_v2'
  config = loading.load(name)
  path = pathlib.Path(loading.__file__).parent / f'{name}.py'
  text = field_help.text(config, name, path)
  shown = dict(re.findall(r'^  --config\.([\w.]+)=(.*)$', text, re.MULTILINE))
  assert shown.keys() == schema.plain_fields(config).keys() - {'code'}
  assert (shown['model.depth'], shown['model.version']) == ('56', 'v2')
  assert shown['schedule.drops_at'] == ','.join(
      map(str, config.schedule.drops_at))
  assert max(map(len, text.splitlines())) <= 80
  # The docstring of the recipe.
  assert '\n\nPre-activation ResNet-56 (bottleneck) on CIFAR-10: He et' in text


def test_what_a_field_can_be_is_shown():
  path = pathlib.Path(loading.__file__)
  text = ' '.join(field_help.text(schema.Config(), '', path).split())
  # As they stand in schema.py.
  for words in (
      'v2: pre-activation. (one of v1, v1.5, v2)',
      '152. (a whole number from 1 to 2000)',
      '--config.model.blur_pool=False Blurs before each stride (Zhang 2019). '
      '(true or false)',
      '--config.model.dropout=0.0 Before the classifier. (a number of at least '
      '0 and less than 1)',
      '--config.augment.mixup=0.0 Alpha of the Beta distribution of the mixing '
      'ratio. 0: off. (a number of 0, or from 0.001 to 100)',
      '(a tuple of whole numbers such as 128,224, each from 1 to 8192)'):
    assert words in text, words


def test_the_trainer_shows_the_recipe_that_is_asked_for():
  result = processes.run(
      'resnet.train', '--config=imagenet_resnet50', '--help')
  assert (result.code, result.err) == (0, '')
  assert 'Config fields, with the values of imagenet_resnet50:' in result.out
  assert '--config.data.image_size=224' in result.out
  assert result.out.count('Config fields') == 1
  assert 'Config fields' not in processes.run('resnet.runs', '--help').out


def test_the_trainer_shows_a_recipe_of_ones_own(tmp_path):
  path = tmp_path / 'mine.py'
  path.write_text('"""My pictures, in two lines\nof text."""\n'
                  'from configs import schema\ndef get_config():\n'
                  '  return schema.Config(train_steps=7)\n')
  shown = processes.run('resnet.train', f'--config={path}', '--help').out
  assert f'with the values of {path}:\n\nMy pictures, in two lines\nof' in (
      shown)
  assert '--config.train_steps=7' in shown


def test_all_recipes_are_listed():
  shown = processes.run('resnet.train', '--help').out
  for path in pathlib.Path(loading.__file__).parent.rglob('*.py'):
    if 'get_config' in path.read_text() and path.stem not in (
        'loading', 'schema', 'field_help'):
      assert f'\n  {path.stem}: ' in shown or (
          f'\n  tutorials/{path.stem}: ' in shown), path
  assert 'third of six in a' in shown  # First line of the docstring.
