"""A network starts from the weights that another run would be evaluated with.
"""
import dataclasses
import shutil

import keras
import numpy as np
import pytest

from configs import schema
from configs.process.errors import TryAgain, UserError
from resnet.reporting import model_summary
from resnet.run import checkpoint_file, checkpoint_match
from resnet.weights import imported, written
from tests.resnet import written_runs

_CLASSES = [str(digit) for digit in range(10)]
_CONFIG = written_runs.CONFIG


def _model(config=_CONFIG, classes=10, **data):
  record = {**written_runs.data(), **data}
  with keras.StatelessScope(initialize_variables=False):
    return model_summary.build(
        config, {**record, 'classes': _CLASSES[:classes]})


def _save(run, step, seed=0, config=None, classes=None, **more):
  """Writes a checkpoint of random weights; returns the weights."""
  weights = written_runs.weights(config or _CONFIG, seed)
  tensors = {**weights, 'mean': np.array([33.5], np.float32),
             'stddev': np.array([2.5], np.float32), **more}
  if classes:
    tensors[checkpoint_match.IDENTITY] = checkpoint_match.text(
        {'config': schema.to_dict(config or _CONFIG),
         'data': {'classes': classes}})
  written_runs.save(run, tensors, step)
  return {name.removeprefix('model/'): value
          for name, value in weights.items()}


def _load(text, config=_CONFIG, classes=_CLASSES, **data):
  return imported.load(str(text), _model(config, **data), config, classes)


def _assert_same(values, expected):
  assert values.keys() == expected.keys()
  for name, value in values.items():
    np.testing.assert_array_equal(value, expected[name])


@pytest.fixture
def run(tmp_path):
  """A run with evaluations of steps 10 to 40; that of 30 is the best."""
  return written_runs.write(tmp_path / 'run')


def test_newest_best_and_any_step(run):
  weights = {step: _save(run, step, seed=step) for step in (20, 30, 40)}
  for text, step in ((run, 40), (f'{run}:latest', 40), (f'{run}:best', 30),
                     (f'{run}:20', 20)):
    read = _load(text)
    _assert_same(read.values, weights[step])
    assert (read.source, read.made_new) == (f'run {run}, step {step}', ())
    assert (read.mean, read.stddev) == ([33.5], [2.5])


def test_the_digest_is_of_the_weights(run, tmp_path):
  _save(run, 10, seed=1)
  first = _load(run).digest
  shutil.copytree(run, tmp_path / 'copy')
  assert _load(tmp_path / 'copy').digest == first
  _save(run, 10, seed=2)
  assert _load(run).digest != first


@pytest.mark.parametrize('evaluated', [True, False])
def test_averages_are_taken_if_evaluations_use_them(tmp_path, evaluated):
  config = dataclasses.replace(
      _CONFIG, ema=schema.Ema(decay=0.9, evaluated=evaluated))
  run = written_runs.write(tmp_path / 'run', config=config)
  averages = written_runs.weights(config, seed=7)
  weights = _save(run, 10, **{
      name.replace('model/', 'average/'): v for name, v in averages.items()})
  expected = {name.removeprefix('model/'): value
              for name, value in averages.items()} if evaluated else weights
  _assert_same(_load(run).values, expected)


def test_the_run_may_be_of_other_classes(run):
  _save(run, 10, classes=_CLASSES[::-1])
  assert _load(run).made_new == ('logits/kernel', 'logits/bias')
  assert _load(run, classes=_CLASSES[::-1]).made_new == ()


@pytest.mark.parametrize('known', [_CLASSES, None])
def test_another_number_of_classes(run, known):
  weights = _save(run, 10, classes=known)
  read = imported.load(
      str(run), _model(classes=3), _CONFIG, _CLASSES[:3])
  assert read.made_new == ('logits/kernel', 'logits/bias')
  _assert_same(read.values, {name: value for name, value in weights.items()
                             if name not in read.made_new})


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(run, capsys):
  older = _save(run, 10, seed=1)
  _save(run, 20, seed=2)
  data = run / 'checkpoints' / 'ckpt-20.data-00000-of-00001'
  data.write_bytes(data.read_bytes()[:-5])
  _assert_same(_load(run).values, older)
  assert 'ckpt-20 is damaged' in capsys.readouterr().err
  with pytest.raises(UserError, match='step 20 in .* is damaged .* choose one '
                     'of 10'):
    _load(f'{run}:20')
  (run / 'checkpoints' / 'ckpt-10.index').write_bytes(b'')
  with pytest.raises(UserError, match=r'can be read \(step 10, step 20\)'):
    _load(run)


def test_what_does_not_exist(run, tmp_path):
  with pytest.raises(UserError, match='no checkpoint in .*: train that run'):
    _load(run)
  _save(run, 10)
  with pytest.raises(UserError, match='no checkpoint of step 7 .* one of 10'):
    _load(f'{run}:7')
  with pytest.raises(UserError, match='ends with :beste, which is unknown'):
    _load(f'{run}:beste')
  with pytest.raises(UserError, match='/no does not exist: give the folder'):
    _load(tmp_path / 'no')
  with pytest.raises(UserError, match='/no:best does not exist: give'):
    _load(f'{tmp_path}/no:best')
  for text in (tmp_path, f'{tmp_path}:best'):
    with pytest.raises(UserError, match='is a folder, but not that of a run'):
      _load(text)
  (run / 'metrics.jsonl').write_text('')
  with pytest.raises(UserError, match=f'{run}:best finds no evaluated'):
    _load(f'{run}:best')
  (run / 'config.json').write_text('{')
  with pytest.raises(UserError, match='config.json is damaged'):
    _load(run)


def test_a_colon_may_be_in_the_name(tmp_path):
  weights = _save(written_runs.write(tmp_path / 'lr:10'), 20)
  _assert_same(_load(tmp_path / 'lr:10').values, weights)
  _assert_same(_load(f'{tmp_path}/lr:10:20').values, weights)


def test_what_cannot_be_read_now_may_pass(run, monkeypatch):
  _save(run, 10)

  def failing(_):
    raise OSError(5, 'Input/output error')

  monkeypatch.setattr(checkpoint_file, 'read', failing)
  with pytest.raises(TryAgain, match='ckpt-10 cannot be read now .Input'):
    _load(run)


def test_another_network_names_the_fields(run):
  _save(run, 10)
  other = dataclasses.replace(
      _CONFIG, model=schema.Model(name='keras_v1', depth=14))
  with pytest.raises(UserError, match=(
      r'step 10: its network is not that of config.model \(depth is 8 there, '
      '14 here.*give --config.model.depth=8, or other weights')):
    _load(run, other)
  resnet = dataclasses.replace(_CONFIG, model=schema.Model(depth=8))
  with pytest.raises(UserError, match='give --config.model.name=keras_v1, or'):
    _load(run, resnet)


def test_another_shape_names_both_sides(run):
  _save(run, 10)
  with pytest.raises(UserError, match=(
      r'1 have another shape \(stem/kernel is \[3, 3, 1, 16\] there, '
      r'\[3, 3, 3, 16\] here\)')):
    _load(run, image_shape=[8, 8, 3])


def test_lacking_and_unknown_variables_are_counted(run):
  kept = _save(run, 10)
  names = list(kept)
  renamed = {f'other/{name}' if name in names[:4] else name: value
             for name, value in kept.items()}
  written_runs.save(run, {f'model/{n}': v for n, v in renamed.items()}, 20)
  count = len([name for name in names if not name.startswith('logits/')])
  with pytest.raises(UserError, match=(
      f'4 of its {count} variables are not there .{names[0]}, {names[1]}, '
      f'{names[2]} and 1 more., 4 are there that it does not have .other/')):
    _load(run)


@pytest.mark.parametrize('value, why', [
    (np.full(16, np.nan, np.float32), 'not finite, in stem_bn/gamma'),
    (np.ones(16, np.int32), 'holds stem_bn/gamma as int32')])
def test_values_that_are_no_weights(run, value, why):
  _save(run, 10, **{'model/stem_bn/gamma': value})
  with pytest.raises(UserError, match=why):
    _load(run)


def test_the_weights_of_a_run_as_a_file(run, tmp_path):
  weights = _save(run, 10, classes=_CLASSES)
  for end in ('npz', 'safetensors'):
    path = tmp_path / f'w.{end}'
    written.write(path, imported.read(str(run)))
    read = _load(path)
    _assert_same(read.values, weights)
    assert (read.mean, read.stddev, read.made_new) == ([33.5], [2.5], ())
    assert _load(path, classes=_CLASSES[::-1]).made_new
  with pytest.raises(UserError, match='give --config.model.depth=8, or other'):
    _load(tmp_path / 'w.npz', dataclasses.replace(
        _CONFIG, model=schema.Model(name='keras_v1', depth=14)))
