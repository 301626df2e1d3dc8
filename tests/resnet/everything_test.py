"""ResNet-50 with every technique at once is killed and resumes exactly."""
import functools
import signal

import pytest

from tests import processes
from tests.resnet import loop_techniques_test as techniques

_STEPS = 6
_FLAGS = (
    '--config=imagenet_resnet50', '--config.data.name=synthetic',
    '--config.data.image_size=64', '--config.synthetic.examples=40',
    '--config.model.width=8', '--config.model.stem=deep',
    '--config.model.shortcut=D', '--config.model.squeeze_excite=4',
    '--config.model.blur_pool', '--config.model.stochastic_depth=0.2',
    '--config.model.dropout=0.1', '--config.optimizer.name=lamb',
    '--config.optimizer.nesterov=false', '--config.optimizer.accumulate=2',
    '--config.optimizer.clip=adaptive', '--config.optimizer.clip_at=0.1',
    '--config.schedule.peak=0.005', '--config.schedule.peak_batch=256',
    '--config.ema.decay=0.99', '--config.loss=sigmoid',
    '--config.augment.policy=rand_augment', '--config.augment.mixup=0.2',
    '--config.augment.cutmix=1', '--config.augment.mix_probability=0.8',
    '--config.augment.erasing=0.2', '--config.precision=float32',
    '--config.monitor.plateau_evals=1', '--config.recovery.most=2',
    '--config.data.eval_flip', '--config.global_batch=8',
    '--config.eval_batch=20', '--config.train_epochs=0',
    f'--config.train_steps={_STEPS}', '--config.schedule.warmup_epochs=0',
    '--steps_per_call=1', '--log_every_steps=1', '--eval_every_steps=2',
    '--save_every_steps=2', '--save_every_secs=0')


@pytest.mark.slow
def test_resnet50_with_everything_resumes_bit_for_bit(tmp_path):
  def train(name, **options):
    return processes.run('resnet.train', *_FLAGS,
                         f'--workdir={tmp_path / name}', **options)

  calm = train('calm')
  assert calm.code == 0, calm.err
  killed = train('killed', between_calls=functools.partial(
      processes.kill_at, 5))
  assert killed.code == -signal.SIGKILL, killed.err
  again = train('killed')
  assert again.code == 0, again.err
  techniques._assert_same_end(tmp_path / 'calm', tmp_path / 'killed', _STEPS)
