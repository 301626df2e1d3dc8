"""The help of config fields comes from their one source, the schema."""
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
  config = loading.load('cifar10_resnet56_v2')
  text = field_help.text(config, 'cifar10_resnet56_v2')
  shown = dict(re.findall(r'^  --config\.([\w.]+)=(.*)$', text, re.MULTILINE))
  assert shown.keys() == schema.plain_fields(config).keys() - {'code'}
  assert (shown['model.depth'], shown['model.version']) == ('56', 'v2')
  assert shown['schedule.drops_at'] == ','.join(
      map(str, config.schedule.drops_at))
  assert max(map(len, text.splitlines())) <= 80
  assert '(one of v1, v1.5, v2)' in text
  assert '(a whole number; from 1 to 2000)' in text


def test_the_trainer_shows_the_recipe_that_is_asked_for():
  result = processes.run(
      'resnet.train', '--config=imagenet_resnet50', '--help')
  assert (result.code, result.err) == (0, '')
  assert 'Config fields, with the values of imagenet_resnet50:' in result.out
  assert '--config.data.image_size=224' in result.out
  assert result.out.count('Config fields') == 1
  assert 'Config fields' not in processes.run('resnet.runs', '--help').out
