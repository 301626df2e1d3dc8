"""Flags that people bring along from other programs are named in ours."""
import pytest

from configs import schema
from configs.process import foreign_flags
from tests import processes


@pytest.mark.parametrize('word, ours', [
    ('--lr=0.1', 'config.schedule.peak'),
    ('--epochs=3', 'config.train_epochs'),
    ('--batch-size=64', 'config.global_batch'),
    ('--batch_size=64', 'config.global_batch'),
    ('--model=resnet50', 'config.model.name'),
    ('--output_dir=x', 'workdir'), ('--pretrained', 'init_from'),
    ('--gpus=8', 'devices')])
def test_the_trainer_names_its_own_flag(word, ours):
  result = processes.run('resnet.train', word)
  name = word.partition('=')[0]
  assert (result.code, result.err) == (
      2, f'error: {name} is unknown (did you mean --{ours}?): --help lists the '
      'flags.\n')


def test_a_program_without_the_flag_does_not_name_it():
  assert foreign_flags.ours('lr', {'workdir'}) is None
  assert foreign_flags.ours('logdir', {'workdir'}) == 'workdir'
  assert foreign_flags.ours('nonsense', {'config', 'workdir'}) is None


def test_all_named_fields_exist():
  fields = schema.plain_fields(schema.Config())
  named = {name.removeprefix('config.') for name in foreign_flags._OURS
           if name.startswith('config.')}
  assert len(named) > 20 and named <= fields.keys()
