"""Settings of the update and of the run that do not work together."""
import pytest

from configs import combinations, schema
from configs.process.errors import UserError
from tests.configs.combinations_test import _config


def _refusal(fields):
  with pytest.raises(UserError) as error:
    combinations.check(_config(fields))
  return str(error.value)


@pytest.mark.parametrize('fields', [
    {'optimizer.name': 'lars', 'optimizer.trust': 0.02,
     'optimizer.momentum': 0.5},
    {'optimizer.name': 'rmsprop', 'optimizer.beta_2': 0.9,
     'optimizer.momentum': 0.5},
    {'optimizer.clip': 'norm', 'optimizer.clip_at': 5.0},
    {'ema.decay': 0.9, 'ema.warmup': False, 'ema.evaluated': False},
    {'monitor.plateau_evals': 5, 'monitor.plateau_floor': 1e-6},
    {'recovery.most': 1, 'recovery.jump': 2.0, 'recovery.skip': True},
    {'schedule.drops_at': (0.3, 0.6), 'schedule.drop_factors': (0.1, 0.2)},
    {'schedule.drops_at': (), 'schedule.drop_factors': (0.1,)},
    {'optimizer.accumulate': 4},
])
def test_what_fits_together_is_allowed(fields):
  combinations.check(_config(fields))


@pytest.mark.parametrize('fields, sentence', [
    ({'optimizer.name': 'lars', 'optimizer.beta_1': 0.8},
     'config.optimizer.beta_1=0.8 has no effect with '
     'config.optimizer.name=lars: set it to 0.9, or give adam, adamw or lamb.'),
    ({'optimizer.name': 'adam', 'optimizer.nesterov': True},
     'config.optimizer.nesterov=True has no effect with '
     'config.optimizer.name=adam: set it to False, or give sgd.'),
    ({'optimizer.name': 'lamb', 'optimizer.trust': 0.1},
     'config.optimizer.trust=0.1 has no effect with '
     'config.optimizer.name=lamb: set it to 0.001, or give lars.'),
    ({'optimizer.clip_at': 5.0},
     'config.optimizer.clip_at=5.0 has no effect: set it to 1.0, or give '
     'config.optimizer.clip=norm, value or adaptive, say.'),
    ({'optimizer.clip': 'value', 'optimizer.clip_at': 0},
     'config.optimizer.clip_at=0 with config.optimizer.clip=value leaves no '
     'gradient: give a positive value.'),
    ({'ema.evaluated': False},
     'config.ema.evaluated=False has no effect: set it to True, or give '
     'config.ema.decay=0.9999, say.'),
    ({'monitor.plateau_factor': 0.5},
     'config.monitor.plateau_factor=0.5 has no effect: set it to 0.1, or give '
     'config.monitor.plateau_evals=5, say.'),
    ({'recovery.skip': True},
     'config.recovery.skip=True has no effect: set it to False, or give '
     'config.recovery.most=3, say.'),
    ({'schedule.drop_factors': (0.1, 0.2, 0.3)},
     'config.schedule.drop_factors=(0.1, 0.2, 0.3) does not fit '
     'config.schedule.drops_at=(0.5, 0.75): give one factor, or 2, one for '
     'each drop.'),
    ({'optimizer.accumulate': 2, 'model.sync_batch_norm': True},
     'config.optimizer.accumulate=2 does not work with '
     'config.model.sync_batch_norm=True, whose replicas would wait for each '
     'other in each part: set one of them to its default.'),
])
def test_what_does_not_fit_is_refused(fields, sentence):
  assert _refusal(fields) == sentence


@pytest.mark.parametrize('fields, classes, several, saves, sentence', [
    ({'monitor.plateau_evals': 5}, 10, False, True,
     'config.monitor.plateau_evals=5 needs evaluations during the run, but '
     'there is only the last one: give --eval_every_epochs=1, say.'),
    ({'monitor.stop_evals': 2}, 10, False, True,
     'config.monitor.stop_evals=2 needs evaluations during the run, but there '
     'is only the last one: give --eval_every_epochs=1, say.'),
    ({'monitor.metric': 'top5_accuracy'}, 5, True, True,
     'config.monitor.metric=top5_accuracy is always 1 with 5 classes: give '
     'accuracy or loss.'),
    ({'recovery.most': 3}, 10, True, False,
     'config.recovery.most=3 returns to a checkpoint, which must be of the '
     'same step in every run: give --save_every_steps=1000, say.'),
])
def test_what_needs_flags_or_data_is_refused_without(
    fields, classes, several, saves, sentence):
  config = _config(fields)
  combinations.check(config)
  combinations.check_run(config, 10, several=True, saves=True)
  with pytest.raises(UserError) as error:
    combinations.check_run(
        config, classes, several=several, saves=saves)
  assert str(error.value) == sentence


def test_class_weights_need_one_for_each_class():
  config = schema.Config(train_steps=1, class_weights=(1.0, 2.0))
  combinations.check_run(config, 2, several=True, saves=True)
  with pytest.raises(UserError, match='2 values, but the data have 10 classes'):
    combinations.check_run(config, 10, several=True, saves=True)
