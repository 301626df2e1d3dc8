"""A run starts from weights once, and the run folder says from which."""
import dataclasses
import json
import shutil

import numpy as np
import pytest

from configs import schema
from configs.process.errors import UserError
from resnet import network
from resnet.distribution.group import Group
from resnet.execution.options import Options
from resnet.run import checkpoint_file, checkpoint_match, description
from resnet.run.run_folder import RunFolder
from resnet.weights import starting
from tests.resnet import small_runs, strategies, written_runs

_CLASSES = ['cat', 'dog']
_OWN = ('step', 'sums', 'digest', 'monitor', 'recovery')  # Of each run alone.


def _config(**changes):
  return small_runs.config(**{
      'model': schema.Model(depth=8, width=4),
      'optimizer': schema.Optimizer(name='adam'), **changes})


def _build(config, replicas=1, classes=2, side=8):
  source = small_runs.random_source(37, classes=classes, side=side)
  return network.build(config, strategies.on_cpus(replicas), source)


def _save_run(folder, config, step=20, seed=0, classes=2, names=None, side=8):
  """Writes a run whose state is random; returns what its checkpoint holds."""
  _, state = _build(config, classes=classes, side=side)
  rng = np.random.default_rng(seed)
  tensors = {name: rng.uniform(1, 9, v.shape).astype(v.dtype.as_numpy_dtype)
             for name, v in state.paths.items()}
  tensors['step'] = np.array(step, np.int64)
  (folder / 'checkpoints').mkdir(parents=True, exist_ok=True)
  (folder / 'config.json').write_text(json.dumps(schema.to_dict(config)))
  checkpoint_file.write(folder / 'checkpoints' / f'ckpt-{step}', {
      **tensors, checkpoint_match.IDENTITY: checkpoint_match.text({
          'config': schema.to_dict(config),
          'data': {'classes': names or [f'class {i}' for i in range(classes)]}
      })})
  return tensors


def _begin(tmp_path, config, what, *, keep=False, replicas=1, step=0,
           classes=('class 0', 'class 1'), known=None, side=8):
  """Returns (record, {name: value of each replica}) of a run's start."""
  model, state = _build(config, replicas, len(classes), side)
  record = starting.begin(
      Options(init_from=what, keep_optimizer=keep),
      Group.of(strategies.on_cpus(replicas)),
      RunFolder(tmp_path / 'run', description=known or {}), step, config,
      model, state, list(classes))
  return record, {
      name: [one.numpy() for one in getattr(v, 'values', (v,))]
      for name, v in state.paths.items()}


def _fresh(config, **kwargs):
  _, state = _build(config, **kwargs)
  return {name: v.numpy() for name, v in state.paths.items()}


def _assert_values(values, expected):
  assert values.keys() == expected.keys()
  for name, copies in values.items():
    for copy in copies:
      np.testing.assert_array_equal(copy, expected[name], err_msg=name)


@pytest.mark.parametrize('replicas', [1, 2])
def test_weights_alone_are_taken_over(tmp_path, replicas):
  config = _config()
  there = _save_run(tmp_path / 'a', config)
  record, values = _begin(tmp_path, _config(seed=1), tmp_path / 'a',
                          replicas=replicas)
  fresh = _fresh(_config(seed=1))
  _assert_values(values, {
      name: there[name] if name.startswith('model/')
      or name in ('mean', 'stddev') else value
      for name, value in fresh.items()})
  assert fresh['step'] == 0 and not fresh['first_moment/logits/kernel'].any()
  assert record == {
      'what': str(tmp_path / 'a'), 'source': f'run {tmp_path / "a"}, step 20',
      'digest': record['digest'], 'step': 20, 'made_new': [],
      'statistics': 'weights', 'keep_optimizer': False}
  assert len(record['digest']) == 64


def test_averages_start_as_the_weights_that_the_source_evaluates(tmp_path):
  """Those are its averages; frozen parts have none of their own."""
  config = _config(ema=schema.Ema(decay=0.9))
  there = _save_run(tmp_path / 'a', config)
  config = dataclasses.replace(
      config, finetune=schema.FineTune(frozen=('stem',)))
  _, values = _begin(tmp_path, config, tmp_path / 'a')
  checked = 0
  for name, (value,) in values.items():
    group, _, path = name.partition('/')
    if group in ('model', 'average'):
      np.testing.assert_array_equal(value, there[f'average/{path}'], name)
      checked += 1
  assert checked == 2 * len([n for n in there if n.startswith('model/')])


@pytest.mark.parametrize('names', [['class 0', 'bird'], ['class 1', 'class 0']])
def test_a_classifier_of_other_classes_is_made_new(tmp_path, names):
  there = _save_run(tmp_path / 'a', _config(), names=names)
  record, values = _begin(tmp_path, _config(), tmp_path / 'a', keep=True)
  fresh, new = _fresh(_config()), ['logits/kernel', 'logits/bias']
  assert record['made_new'] == new
  _assert_values(values, {
      name: fresh[name] if name.partition('/')[2] in new or name in (
          *_OWN, 'loss_scale', 'good_steps') else there[name]
      for name in fresh})
  assert 'logits/kernel and logits/bias are made new' in starting.text(record)


def test_the_config_s_statistics_of_the_input_come_first(tmp_path):
  _save_run(tmp_path / 'a', _config())
  record, values = _begin(tmp_path, _config(
      data=schema.Data(mean=(100.0,), stddev=(50.0,))), tmp_path / 'a')
  assert values['mean'][0] == [100] and values['stddev'][0] == [50]
  assert record['statistics'] == 'data'
  assert 'are those of the config or of the data' in starting.text(record)


@pytest.mark.parametrize('theirs, ours, fits', [
    ('channel', 'pixel', True), ('pixel', 'pixel', True),
    ('pixel', 'channel', False)])
def test_a_mean_of_another_shape(tmp_path, theirs, ours, fits):
  there = _save_run(tmp_path / 'a', _config(data=schema.Data(center=theirs)))
  config = _config(data=schema.Data(center=ours))
  if fits:
    _, values = _begin(tmp_path, config, tmp_path / 'a')
    np.testing.assert_array_equal(
        values['mean'][0], np.broadcast_to(there['mean'], [8, 8, 1]))
    return
  with pytest.raises(UserError) as error:
    _begin(tmp_path, config, tmp_path / 'a')
  assert str(error.value) == (
      f'run {tmp_path / "a"}, step 20 has a mean of the input of shape '
      '[8, 8, 1], which does not fit this run, whose is [1]: give the '
      'config.data.center and image size of those weights, or '
      'config.data.mean.')


def test_keep_optimizer_takes_all_but_what_belongs_to_a_run(tmp_path):
  config = _config(ema=schema.Ema(decay=0.9), precision='float16')
  there = _save_run(tmp_path / 'a', config)
  changed = dataclasses.replace(config, seed=1, optimizer=dataclasses.replace(
      config.optimizer, beta_1=0.5))
  record, values = _begin(tmp_path, changed, tmp_path / 'a', keep=True)
  fresh = _fresh(changed)
  _assert_values(values, {
      name: fresh[name] if name in _OWN else there[name] for name in fresh})
  assert record['keep_optimizer']
  assert ', with its optimizer (SHA-256 ' in starting.text(record)


def test_keep_optimizer_between_runs_with_and_without_averages(tmp_path):
  there = _save_run(tmp_path / 'a', _config())
  _, values = _begin(tmp_path, _config(ema=schema.Ema(decay=0.9)),
                     tmp_path / 'a', keep=True)
  np.testing.assert_array_equal(values['average/stem_bn/moving_mean'][0],
                                there['model/stem_bn/moving_mean'])
  there = _save_run(tmp_path / 'b', _config(ema=schema.Ema(decay=0.9)))
  _, values = _begin(tmp_path, _config(), tmp_path / 'b', keep=True)
  np.testing.assert_array_equal(values['model/stem_conv/kernel'][0],
                                there['model/stem_conv/kernel'])


def test_keep_optimizer_of_what_was_frozen_starts_at_zero(tmp_path):
  _save_run(tmp_path / 'a',
            _config(finetune=schema.FineTune(frozen=('stem',))))
  _, values = _begin(tmp_path, _config(), tmp_path / 'a', keep=True)
  assert not values['first_moment/stem_conv/kernel'][0].any()
  assert values['first_moment/logits/kernel'][0].all()


def test_keep_optimizer_of_another_optimizer_is_refused(tmp_path):
  _save_run(tmp_path / 'a', _config())
  with pytest.raises(UserError) as error:
    _begin(tmp_path, _config(optimizer=schema.Optimizer(name='adamw')),
           tmp_path / 'a', keep=True)
  assert str(error.value) == (
      '--keep_optimizer does not work with config.optimizer.name=adamw, '
      f'because run {tmp_path / "a"}, step 20 was trained with adam: give '
      '--config.optimizer.name=adam, or leave --keep_optimizer out.')


@pytest.mark.parametrize('what, side, words', [
    ('none', 8, 'does not exist'), ('empty', 8, 'There is no checkpoint in'),
    ('a:7', 8, 'There is no checkpoint of step 7'),
    ('a:newest', 8, 'ends with :newest, which is unknown')])
def test_what_cannot_be_read_is_refused_and_nothing_is_changed(
    tmp_path, what, side, words):
  _save_run(tmp_path / 'a', _config())
  (tmp_path / 'empty').mkdir()
  shutil.copy(tmp_path / 'a' / 'config.json', tmp_path / 'empty')
  with pytest.raises(UserError, match=words):
    _begin(tmp_path, _config(), tmp_path / what, side=side)


def test_weights_of_another_network_are_refused(tmp_path):
  _save_run(tmp_path / 'a', _config(model=schema.Model(depth=14, width=4)))
  with pytest.raises(UserError, match='depth is 14 there, 8 here'):
    _begin(tmp_path, _config(), tmp_path / 'a')


def test_a_run_that_was_killed_before_its_first_checkpoint(tmp_path):
  """It starts from the same bytes, even without the flag, or not at all."""
  _save_run(tmp_path / 'a', _config())
  record, values = _begin(tmp_path, _config(), tmp_path / 'a', keep=True)
  known = {'init': record, 'versions': {}}
  again, same = _begin(tmp_path, _config(), None, known=known)
  assert again == record
  _assert_values(same, {name: value for name, (value,) in values.items()})
  _save_run(tmp_path / 'a', _config(), seed=1)
  for what in (None, tmp_path / 'a'):
    with pytest.raises(UserError) as error:
      _begin(tmp_path, _config(), what, keep=bool(what), known=known)
    assert str(error.value).startswith(
        f'--init_from={tmp_path / "a"} has changed since this run began from '
        f'it (SHA-256 {record["digest"][:12]}... -> ')
    assert str(error.value).endswith(
        '...), and the run has no checkpoint yet: restore the weights that it '
        'began from, or give another --workdir.')


@pytest.mark.parametrize('which', ['', ':best'])
def test_the_same_step_is_read_again_though_the_source_has_trained_on(
    tmp_path, which):
  _save_run(tmp_path / 'a', _config())
  (tmp_path / 'a' / 'metrics.jsonl').write_text(written_runs.lines(
      train=(), evals=((20, 0.5, 1.0), (30, 0.9, 0.5))))
  record, values = _begin(tmp_path, _config(), f'{tmp_path / "a"}{which}')
  assert record['step'] == 20
  _save_run(tmp_path / 'a', _config(), step=30, seed=1)
  again, same = _begin(tmp_path, _config(), f'{tmp_path / "a"}{which}',
                       known={'init': record, 'versions': {}})
  assert again == record
  _assert_values(same, {name: value for name, (value,) in values.items()})


def test_a_run_with_a_checkpoint_reads_nothing(tmp_path):
  _save_run(tmp_path / 'a', _config())
  record, _ = _begin(tmp_path, _config(), tmp_path / 'a')
  shutil.rmtree(tmp_path / 'a')
  known = {'init': record, 'versions': {}}
  for what in (None, tmp_path / 'a'):
    again, values = _begin(tmp_path, _config(), what, known=known, step=5)
    assert again == record
    _assert_values(values, _fresh(_config()))


_RECORD = {'what': '/runs/a', 'source': 'run /runs/a, step 3', 'digest': 'ab',
           'step': 3, 'made_new': [], 'statistics': 'weights',
           'keep_optimizer': False}


@pytest.mark.parametrize('init_from, keep, known, sentence', [
    ('/runs/b', False, {'init': _RECORD}, '--init_from=/runs/b differs from '
     'what the run in --workdir=r began from: give --init_from=/runs/a, or '
     'leave it out, to continue that run, or give another --workdir.'),
    ('/runs/a:best', False, {'init': _RECORD}, '--init_from=/runs/a:best diff'),
    ('/runs/a', True, {'init': _RECORD}, '--keep_optimizer=true differs from '
     'how the run in --workdir=r began: give --keep_optimizer=false to '
     'continue that run, or give another --workdir.'),
    (None, True, {'init': _RECORD}, '--keep_optimizer is for a run that starts '
     'from another one: give --init_from=RUN, too, or leave it out.'),
    (None, True, {}, '--keep_optimizer is for a run that starts from'),
    ('/runs/a', False, {'versions': {}}, '--init_from=/runs/a is for the start '
     'of a run, but --workdir=r holds a run that began without it: leave it '
     'out to continue that run, or give another --workdir.')])
def test_a_run_that_began_otherwise_is_refused(
    init_from, keep, known, sentence):
  with pytest.raises(UserError) as error:
    starting.check(Options(init_from=init_from, keep_optimizer=keep), known,
                   'r')
  assert str(error.value).startswith(sentence)


@pytest.mark.parametrize('init_from', [None, '/runs/a', '/runs/../runs/a/'])
def test_a_run_that_began_like_this_is_continued(init_from):
  starting.check(Options(init_from=init_from), {'init': _RECORD}, 'r')
  starting.check(Options(), {}, 'r')
  starting.check(Options(), {'versions': {}}, 'r')


def test_without_a_run_json_it_is_said_that_nothing_is_read(capsys):
  starting.check(Options(init_from='/runs/a'), {}, 'r')
  assert capsys.readouterr().err == (
      'warning: r/run.json does not say what this run began from: '
      '--init_from=/runs/a is not read.\n')
  starting.check(Options(init_from='/runs/a'), {}, 'r', begun=False)
  assert capsys.readouterr().err == ''


@pytest.mark.parametrize('change', [
    {}, {'step': None}, {'what': 1}, {'step': 'x'}, {'made_new': None},
    {'made_new': [1]}, {'keep_optimizer': 0}, {'digest': None}])
def test_a_damaged_record_is_not_believed(tmp_path, change, capsys):
  (tmp_path / 'run.json').write_text(json.dumps(
      {'init': {**_RECORD, **change}}))
  known = description.read(tmp_path)
  fine = change in ({}, {'step': None})
  assert known == ({'init': {**_RECORD, **change}} if fine else {})
  assert ('damaged (wrong: init)' in capsys.readouterr().err) != fine


def test_workers_with_other_weights_are_refused(tmp_path, monkeypatch):
  """The digests that they exchange differ; all else that they tell is equal."""
  _save_run(tmp_path / 'a', _config())
  calls = []

  def exchange(self, values):
    calls.append(len(values))
    others = [values[0] + (len(calls) == 4), *values[1:]]
    return np.array([values, others], np.float64)

  monkeypatch.setattr(Group, 'exchange', exchange)
  monkeypatch.setattr(Group, 'is_alone', False)
  with pytest.raises(UserError) as error:
    _begin(tmp_path, _config(), tmp_path / 'a')
  assert calls == [1, 2, 2, 1]  # Flags; two actions; digests.
  assert str(error.value) == (
      'The weights to start from of worker 1 differ from those of worker 0: '
      'give all workers the same files.')
