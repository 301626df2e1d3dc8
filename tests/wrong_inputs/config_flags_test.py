"""Overrides of the config that are wrong, before TensorFlow is needed."""
import pytest


@pytest.mark.parametrize('flag, words', [
    # No such field, or a group.
    ('--config.optimizer.lerning_rate=1', 'config.optimizer.lerning_rate does'),
    ('--config.schedule.peek=1', 'did you mean config.schedule.peak?'),
    ('--config.model=3', 'config.model is a group: set one of its fields name'),
    ('--config.=3', 'config. does not exist'),
    ('--config..seed=3', 'did you mean config.seed?'),
    ('--config.seed.x=3', 'config.seed.x does not exist'),
    ('--config.__dict__=3', 'config.__dict__ does not exist'),
    ('--noconfig.model.depth.x', 'config.model.depth.x does not exist'),
    # Whole numbers.
    ('--config.seed=', 'config.seed= has the wrong type: give a whole number.'),
    ('--config.seed=0x', 'config.seed=0x has the wrong type'),
    ('--config.seed=1e3', 'config.seed=1e3 has the wrong type'),
    ('--config.seed=1.0', 'config.seed=1.0 has the wrong type'),
    ('--config.seed=-1', 'config.seed=-1 is out of range'),
    ('--config.seed=²', 'config.seed=² has the wrong type'),
    ('--config.seed=4294967296', 'give a value from 0 to 4294967295.'),
    (f'--config.seed={"9" * 5000}', 'has the wrong type: give a whole number.'),
    ('--config.seed', 'Missing value for flag --config.seed'),
    ('--config.global_batch=0', 'give a value from 1 to 1048576.'),
    ('--config.global_batch=1000000000000', 'give a value from 1 to 1048576.'),
    ('--config.eval_batch=1000000000000', 'give a value from 1 to 1048576.'),
    ('--config.train_steps=-5', 'give a value from 0 to 1000000000000.'),
    ('--config.train_steps=9223372036854775808', 'is out of range'),
    ('--config.model.depth=1000000', 'give a value from 1 to 2000.'),
    ('--config.model.width=100000', 'give a value from 1 to 1024.'),
    ('--config.data.image_size=100000', 'give a value from 0 to 8192.'),
    ('--config.augment.repeats=1000000000000', 'is out of range'),
    ('--config.augment.crop_padding=10000', 'give a value from 0 to 8192.'),
    ('--config.augment.cutout=1000000', 'give a value from 0 to 8192.'),
    ('--config.augment.layers=1000000000', 'give a value from 1 to 100.'),
    ('--config.augment.sizes=1.5', 'config.augment.sizes=1.5 has the wrong'),
    ('--config.augment.sizes=128,', 'set image_size to the size'),
    ('--config.augment.sizes=128,x', "config.augment.sizes='128,x' has the wr"),
    (f'--config.augment.sizes={"1," * 30_000}', 'resizes images, but'),
    (f'--config.augment.sizes={"[" * 50_000}', 'give a whole number.'),
    (f'--config.augment.sizes={"-" * 50_000}1', 'is nested too deeply'),
    # Numbers.
    ('--config.train_epochs=1e300', 'give a value from 0 to 1000000.'),
    ('--config.train_epochs=nan', 'config.train_epochs=nan has the wrong type'),
    ('--config.train_epochs=-1', 'config.train_epochs=-1.0 is out of range'),
    ('--config.schedule.warmup_epochs=1e300', 'from 0 to 1000000.'),
    ('--config.schedule.peak=', 'config.schedule.peak= has the wrong type'),
    ('--config.schedule.peak=fast', 'give a number.'),
    ('--config.schedule.peak=1e400', 'config.schedule.peak=inf has the wrong'),
    ('--config.schedule.peak=-nan', 'config.schedule.peak=nan has the wrong'),
    ('--config.schedule.peak=-0.1', 'give a value of at least 0.'),
    ('--config.schedule.power=1e300', 'give a value from 0 to 100.'),
    ('--config.schedule.drops_at=0.5,1.5', 'give a value of at least 0 and'),
    ('--config.schedule.drops_at=nan',
     "config.schedule.drops_at='nan' has th"),
    ('--config.optimizer.epsilon=1e300', 'give a value from 0 to 1.'),
    ('--config.optimizer.momentum=1', 'less than 1.'),
    ('--config.optimizer.weight_decay=1e38', 'give a value from 0 to 10.'),
    ('--config.model.batch_norm_epsilon=inf', 'give a number.'),
    ('--config.label_smoothing=1', 'less than 1.'),
    ('--config.augment.erasing=1.01', 'give a value from 0 to 1.'),
    ('--config.augment.smallest_crop=-0.5', 'give a value from 0 to 1.'),
    ('--config.augment.magnitude=11', 'give a value from 0 to 10.'),
    ('--config.augment.brightness=1e300', 'give a value from 0 to 100.'),
    ('--config.augment.cutmix=1e-300', 'give a value of 0, or from 0.001'),
    ('--config.data.mean=', "config.data.mean='' has the wrong type"),
    ('--config.data.mean=,', 'config.data.mean=, has the wrong type'),
    ('--config.data.mean=1;2', "config.data.mean='1;2' has the wrong type"),
    ('--config.data.mean=(1', "config.data.mean='(1' has the wrong type"),
    ('--config.data.mean=1e999,1,1', 'config.data.mean=inf has the wrong type'),
    ('--config.data.mean=1e39,1,1', 'give a value from -1000 to 1000.'),
    ('--config.data.mean=__import__("os")', 'has the wrong type'),
    ('--config.data.stddev=1,0,1', 'give values of at least 0.001, or () to'),
    ('--config.data.stddev=1,-1,1', 'give a value from 0 to 1000.'),
    # Words.
    ('--config.model.name=', "config.model.name='' is unknown: choose one of"),
    ('--config.model.name=ResNet', 'choose one of resnet, baseline'),
    ('--config.precision=float64', 'choose one of float32, bfloat16, float16.'),
    ('--config.optimizer.name=lamb', 'choose one of sgd, adam.'),
    ('--config.schedule.name=linear', 'choose one of constant, step, cosine'),
    ('--config.data.name=a\nb', 'has control characters'),
    ('--config.data.name=\udcff', 'is not UTF-8'),
    ('--config.data.train_split=\x1b[2J', 'has control characters'),
    # true or false.
    ('--config.augment.flip=', 'give true or false.'),
    ('--config.augment.flip=maybe', 'give true or false.'),
    ('--config.augment.flip=2', 'give true or false.'),
    ('--noconfig.augment.flip=1', 'does not take an argument'),
    ('--noconfig.seed', '--noconfig.seed is unknown'),
    # The recipe.
    ('--config=', '--config= is unknown: give the path of a .py file or one'),
    ('--config', '--config= is unknown'),
    ('--config=resnet999', '--config=resnet999 is unknown'),
    ('--config=schema', '--config=schema is unknown'),
    ('--config=__init__', '--config=__init__ is unknown'),
    ('--config=../configs/digits_resnet8', 'is unknown'),
    ('--config=/', '--config=/ is unknown'),
    ('--config=missing.py', '--config=missing.py does not exist'),
    ('--config=/dev/null/x.py', '--config=/dev/null/x.py does not exist'),
    ('--config=.py', '--config=.py does not exist'),
], ids=lambda value: value[:60] if value.startswith('--') else '')
def test_overrides(refused, flag, words):
  assert words in refused('resnet.train', flag)


@pytest.mark.parametrize('program', [
    'pipelines.benchmark', 'pipelines.show', 'resnet.tools.benchmark',
    'resnet.tools.benchmark_augment', 'resnet.tools.survey'])
@pytest.mark.parametrize('flag', [
    '--config.seed=4294967296', '--config.global_batch=1000000000000',
    '--config.train_epochs=1e300', '--config=missing.py'])
def test_every_program_with_a_config(refused, program, flag):
  assert flag.partition('=')[0].lstrip('-') in refused(program, flag)
