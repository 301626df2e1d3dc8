"""Flags that people bring along from other programs are named in ours."""
import re

import pytest

from configs import schema
from configs.process import foreign_flags, typed_fields
from tests import processes


@pytest.mark.parametrize('word, ours', [
    ('--lr=0.1', 'config.schedule.peak'),
    ('--epochs=3', 'config.train_epochs'),
    ('--batch-size=64', 'config.global_batch'),
    ('--batch_size=64', 'config.global_batch'),
    ('--model=resnet50', 'config.model.name'),
    ('--output_dir=x', 'workdir'), ('--pretrained', 'init_from'),
    ('--gpus=8', 'devices'), ('-lr=0.1', 'config.schedule.peak'),
    ('-b', 'config.global_batch'),
    ('--learning-rate=1', 'config.schedule.peak'),
    ('--num-epochs=3', 'config.train_epochs'), ('--data-dir=x', 'data_dir'),
    ('--data=x', 'data_dir'), ('--output=x', 'workdir'),
    ('--logdir=x', 'workdir'), ('--model_dir=x', 'workdir'),
    ('--amp', 'config.precision'), ('--fp16', 'config.precision=float16'),
    ('--optimizer=adam', 'config.optimizer.name'),
    ('--weight-decay=1e-4', 'config.optimizer.weight_decay'),
    ('--seed=1', 'config.seed'), ('--log-wandb', 'log_to=wandb'),
    ('--distribution_strategy=mirrored', 'strategy'),
    ('--Batch-Size=3', 'config.global_batch')])
def test_the_trainer_names_its_own_flag(word, ours):
  result = processes.run('resnet.train', word)
  name = f'--{word.partition("=")[0].lstrip("-")}'
  assert (result.code, result.err) == (
      2, f'error: {name} is unknown (did you mean --{ours}?): --help lists the '
      'flags.\n')


@pytest.mark.parametrize('word, instead', [
    ('--resume', 'rerun the same command to continue a run'),
    ('--workers=8', 'the input chooses its number of threads itself'),
    ('-j', 'the input chooses its number of threads itself'),
    ('--num-classes=10', 'the number of classes is that of the data'),
    ('--evaluate', 'python -m resnet.evaluate evaluates a run')])
def test_the_trainer_says_what_replaces_a_flag(word, instead):
  result = processes.run('resnet.train', word)
  name = f'--{word.partition("=")[0].lstrip("-")}'
  assert (result.code, result.err) == (
      2, f'error: {name} is unknown: {instead}; --help lists the flags.\n')
  assert instead not in processes.run('resnet.runs', word).err


@pytest.mark.parametrize('words, sentence', [
    ('cifar10_resnet20', "'cifar10_resnet20' is not a flag: did you mean "
     '--config=cifar10_resnet20?'),
    ('mine.py', "'mine.py' is not a flag: did you mean --config=mine.py?"),
    ('/data/imagenet', "'/data/imagenet' is not a flag: did you mean "
     '--data_dir=/data/imagenet?'),
    ('model.depth=56', "'model.depth=56' is not a flag: did you mean "
     '--config.model.depth=56?'),
    ('config.seed=1', "'config.seed=1' is not a flag: did you mean "
     '--config.seed=1?'),
    ('workdir=RUN', "'workdir=RUN' is not a flag (did you mean --workdir=RUN?)"
     ': flags have the form --name=value.'),
    ('--deterministic True', "'True' is not a flag: the value of a flag that "
     'is true or false follows an equals sign, as in --deterministic=true.'),
    ('train', "'train' is not a flag: flags have the form --name=value.")])
def test_a_word_that_is_no_flag(words, sentence):
  result = processes.run('resnet.train', *words.split())
  assert (result.code, result.err) == (2, f'error: {sentence}\n')


def test_a_program_without_the_flag_does_not_name_it():
  assert foreign_flags.ours('lr', {'workdir'}) is None
  assert foreign_flags.ours('logdir', {'workdir'}) == 'workdir'
  assert foreign_flags.ours('nonsense', {'config', 'workdir'}) is None


def test_all_named_fields_exist():
  config = schema.Config()
  fields = {field.path: field for field in typed_fields.plain(config)}
  named = [name.removeprefix('config.').partition('=')
           for name in foreign_flags._OURS if name.startswith('config.')]
  assert len(named) > 20 and {name for name, _, _ in named} <= fields.keys()
  for name, _, value in named:
    assert not value or not fields[name].metadata or value in (
        fields[name].metadata['allowed']), name


def test_all_named_flags_exist():
  shown = processes.run('resnet.train', '--help').out
  for name in foreign_flags._OURS:
    if '.' not in name and name not in ('checkpoint', 'top'):
      assert re.search(rf'^  --(\[no\])?{name.partition("=")[0]}\b', shown,
                       re.MULTILINE), name


def test_no_name_means_two_things():
  lists = [*foreign_flags._OURS.values(), *foreign_flags._REMARKS.values()]
  names = [name for some in lists for name in some]
  assert sorted(names) == sorted(set(names))
