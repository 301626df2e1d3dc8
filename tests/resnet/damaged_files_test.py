"""Whatever happens to a file of a run folder, the others stay usable."""
import json
import os

import pytest

from configs import schema
from configs.process import json_file
from configs.process.errors import UserError
from resnet.distribution import heartbeats
from resnet.run import data_record, description, run_folder, summaries
from tests.configs.json_file_test import DAMAGES, shown
from tests.resnet.run_folder_test import CONFIG, DATA, SUMMARY

_RUN = {'replicas': {'workers': 1, 'devices': ['CPU:0']},
        'settings': {'threads': '2'}}


@pytest.fixture
def folder(tmp_path):
  """A finished run, as far as its small files go."""
  run = run_folder.open_for_training(tmp_path, CONFIG)
  run.describe(CONFIG, DATA, _RUN)
  run.finish(SUMMARY)
  run.lock.close()
  (tmp_path / 'metrics.jsonl').write_text(
      '{"split": "train", "step": 10, "loss": 0.5}\n')
  return tmp_path


def _add_checkpoint(folder):
  (folder / 'checkpoints' / 'ckpt-10.index').touch()


def _open(folder, config=CONFIG):
  """Opens it as training does, without its lock."""
  run = run_folder.open_for_training(folder, config)
  run.lock.close()
  return run


@pytest.mark.parametrize('content', DAMAGES, ids=shown)
def test_a_damaged_description_is_written_anew(folder, content, capsys):
  (folder / 'run.json').write_bytes(content)
  run = _open(folder)
  assert (run.finished, run.description) == (None, {})
  warning, = capsys.readouterr().err.splitlines()
  assert warning.startswith(f'warning: {folder}/run.json is damaged (')
  assert warning.endswith('): it is written anew.')
  run.describe(CONFIG, DATA, _RUN)
  run.finish(SUMMARY)
  assert _open(folder).finished == SUMMARY
  assert capsys.readouterr().err == ''


def _without(values, name):
  return {key: value for key, value in values.items() if key != name}


@pytest.mark.parametrize('name, value', [
    *(('summary', value) for value in (
        5, 'text', [], True, {}, *(_without(SUMMARY, name) for name in SUMMARY),
        *({**SUMMARY, name: wrong} for name in SUMMARY
          for wrong in ('1', True, float('nan'), float('inf'), [], {})))),
    *(('replicas', value) for value in (
        5, 'text', [], {}, {'workers': '1', 'devices': []},
        {'workers': 0, 'devices': []}, {'workers': True, 'devices': []},
        {'workers': 1}, {'workers': 1, 'devices': 'CPU:0'},
        {'workers': 1, 'devices': [0]})),
    *((name, value) for name in ('settings', 'versions')
      for value in (5, 'text', [], {'keras': 3}, {'threads': None}))])
def test_a_wrong_entry_of_the_description_is_left_out(
    folder, capsys, name, value):
  path = folder / 'run.json'
  path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
  known = _open(folder).description
  assert name not in known
  assert known.keys() == {'summary', 'replicas', 'settings', 'versions'} - {
      name}
  assert f'run.json is damaged (wrong: {name})' in capsys.readouterr().err


@pytest.mark.parametrize('missing', ['summary', 'replicas', 'settings'])
def test_what_an_older_version_did_not_write_is_not_damage(
    folder, capsys, missing):
  path = folder / 'run.json'
  path.write_text(json.dumps(_without(json.loads(path.read_text()), missing)))
  assert missing not in description.read(folder)
  assert capsys.readouterr().err == ''


def _wrong_configs():
  good = schema.to_dict(CONFIG)
  for name, value in (
      ('model', 1), ('model', []), ('model', None), ('model', 'resnet'),
      ('seed', '7'), ('seed', 7.5), ('seed', None), ('seed', -1),
      ('seed', True), ('seed', {}), ('train_epochs', 'many'),
      ('train_epochs', float('nan')), ('train_epochs', 10**400),
      ('precision', 'float8'), ('precision', 32)):
    yield {**good, name: value}
  for group, name, value in (
      ('model', 'depth', '20'), ('model', 'depth', []), ('data', 'name', 1),
      ('data', 'mean', 1), ('data', 'mean', ['1']), ('data', 'mean', 'abc'),
      ('data', 'mean', {}), ('schedule', 'drops_at', [[]]),
      ('augment', 'flip', 1), ('augment', 'sizes', [0.5])):
    yield {**good, group: {**good[group], name: value}}


_CONFIGS = [*DAMAGES, *(json.dumps(config).encode()
                        for config in _wrong_configs())]


@pytest.mark.parametrize('content', _CONFIGS, ids=shown)
def test_a_damaged_config_is_a_sentence(folder, content):
  (folder / 'config.json').write_bytes(content)
  for use in (lambda: run_folder.read_config(folder), lambda: _open(folder),
              lambda: run_folder.check_usable(folder, CONFIG)):
    with pytest.raises(json_file.Damaged) as raised:
      use()
    assert str(raised.value).startswith(f'{folder}/config.json is damaged (')
    assert len(str(raised.value)) < len(str(folder)) + 400
  assert run_folder.finished(folder, CONFIG) is None
  assert (folder / 'config.json').read_bytes() == content


@pytest.mark.parametrize('content', [*_CONFIGS[::5], None], ids=shown)
def test_a_damaged_config_is_written_anew_if_checkpoints_can_tell(
    folder, content, capsys):
  """They are compared when they are restored."""
  _add_checkpoint(folder)
  if content is None:
    (folder / 'config.json').unlink()
  else:
    (folder / 'config.json').write_bytes(content)
  run = _open(folder)
  assert run.finished is None  # Not known: it may be another run's.
  assert run.description['replicas'] == _RUN['replicas']
  assert ('it is written anew, if the checkpoints are of the same '
          'configuration.') in capsys.readouterr().err
  run.describe(CONFIG, DATA, _RUN)
  assert run_folder.read_config(folder) == CONFIG


def test_a_config_of_another_run_is_not_written_over(folder):
  _add_checkpoint(folder)
  with pytest.raises(UserError, match='config.seed: 7 -> 8'):
    _open(folder, schema.Config(train_steps=10, seed=8))


@pytest.mark.parametrize('content', [
    *DAMAGES, *(json.dumps({**DATA, name: value}).encode()
                for name, value in (
                    ('classes', None), ('classes', 5), ('classes', [1, 2]),
                    ('image_shape', None), ('image_shape', ['8', 8, 3]),
                    ('version', 5), ('train', None), ('train', []),
                    ('eval', {'examples': 3}),
                    ('eval', {'examples': True, 'digest': 'ab'}),
                    ('eval', {'examples': 3, 'digest': 5}))),
    json.dumps(_without(DATA, 'version')).encode(), b'{}'], ids=shown)
def test_a_damaged_record_of_the_data_compares_nothing(folder, content):
  assert data_record.check(folder, DATA) == ''
  (folder / 'data.json').write_bytes(content)
  with pytest.raises(json_file.Damaged):
    data_record.read(folder)
  assert data_record.check(folder, DATA).startswith(
      f'{folder}/data.json is damaged (')


@pytest.mark.parametrize('content', [
    *DAMAGES, *(json.dumps({'rank': 0, 'host': 'h', 'pid': 1, 'phase': 'p',
                            'step': 3, 'time': 5.0, name: value}).encode()
                for name, value in (
                    ('host', 5), ('phase', None), ('step', '3'), ('step', -1),
                    ('time', 'now'), ('time', None), ('time', float('nan'))))],
    ids=shown)
def test_a_damaged_heartbeat_is_no_heartbeat(tmp_path, content, clock):
  (tmp_path / 'workers').mkdir()
  beat = heartbeats.Heartbeats(tmp_path, 1, 2, 30, clock=clock)
  beat.note('training', 7)
  beat.beat()
  (tmp_path / 'workers' / '0.json').write_bytes(content)
  (read,) = heartbeats.read(tmp_path, 2)
  assert (read['rank'], read['step']) == (1, 7)
  clock.now += 31
  with (tmp_path / 'err').open('w') as stream:
    heartbeats.Heartbeats(
        tmp_path, 1, 2, 30, stream, lambda: clock.now).beat()


@pytest.mark.parametrize('content', [b'', b'\xff\0', b'me', b'1' * 5000])
def test_what_the_lock_holds_does_not_matter(folder, content):
  (folder / '.lock').write_bytes(content)
  run = run_folder.open_for_training(folder, CONFIG)
  assert (folder / '.lock').read_text() == str(os.getpid())
  (folder / '.lock').write_bytes(content)
  with pytest.raises(UserError, match='is in use by (another )?process'):
    run_folder.open_for_training(folder, CONFIG)
  run.lock.close()


@pytest.mark.parametrize('name', [
    'config.json', 'run.json', 'data.json', 'metrics.jsonl'])
def test_a_folder_in_place_of_a_file_is_named(folder, name):
  (folder / name).unlink()
  (folder / name).mkdir()
  with pytest.raises(UserError, match=f'{name} cannot be read .not a regular'):
    _open(folder)
    data_record.check(folder, DATA)
    summaries.Summaries(folder, 10)
