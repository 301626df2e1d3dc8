"""An export predicts what its run does, or is refused in one sentence."""
import json
import shutil

import numpy as np
import pytest

from configs import schema
from configs.process.errors import UserError
from resnet.exporting import folder, inference, saved_model
from resnet.inference import exported, predictions, restored
from tests import processes, synthetic_photographs, tiny_dataset
from tests.resnet import restorable_runs

_CLASSES = ('a cat, black', 'line\nbreak', 'Größe')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """A run on photographs."""
  config = schema.Config(
      model=schema.Model(depth=8, width=4),
      data=schema.Data('gone', image_size=24), train_steps=7)
  return restored.restore(restorable_runs.write(
      tmp_path_factory.mktemp('runs') / 'run', config,
      restorable_runs.record(_CLASSES, (24, 24, 3))))


@pytest.fixture(scope='module')
def export(trained, tmp_path_factory):
  """Its export."""
  path = tmp_path_factory.mktemp('exports') / 'export'
  path.mkdir()
  saved_model.write(path / 'saved_model', inference.build(trained, False),
                    'float32')
  folder.write_record(path, {
      'classes': list(_CLASSES), 'exports': {'saved_model': {
          'files': folder.digests(path / 'saved_model')}}})
  return path


@pytest.fixture(scope='module')
def files(tmp_path_factory):
  root = synthetic_photographs.write(
      tmp_path_factory.mktemp('in') / 'photos', 12, sides=(40, 60))
  tiny_dataset.write_tilted(root)
  return sorted(root.rglob('*.*'))


@pytest.fixture(name='copy')
def _copy(export, tmp_path):
  return shutil.copytree(export, tmp_path / 'copy')


def test_an_export_is_equal_to_its_run(trained, export, files):
  expected = list(predictions.predict_files(trained, files))
  model = exported.load(export, batch=7)
  assert model.classes == _CLASSES
  found = list(model.files([*files, 'nowhere']))
  assert found.pop().error == 'No such file or directory'
  assert len(found) == 17
  logits, probabilities = (
      [np.stack([getattr(prediction, name) for prediction in predicted])
       for predicted in (found, expected)]
      for name in ('logits', 'probabilities'))
  np.testing.assert_allclose(*logits, rtol=0, atol=1e-4 * np.ptp(logits[1]))
  np.testing.assert_allclose(*probabilities, rtol=0, atol=1e-4)


def test_the_inner_folder_does_alone(export, files, tmp_path):
  inner = shutil.copytree(export / 'saved_model', tmp_path / 'elsewhere')
  model = exported.load(inner)
  # Names in a text file are one a line.
  assert model.classes == ('a cat, black', 'line break', 'Größe')
  assert not [prediction.error for prediction in model.files(files[:3])
              if prediction.error]
  assert exported.load(export / 'saved_model').classes == _CLASSES


@pytest.mark.slow
def test_the_program_prints_the_same(trained, export, files, tmp_path):
  printed = []
  for source in (f'--workdir={trained.workdir}', f'--model={export}'):
    result = processes.run('resnet.predict', source, '--format=jsonl',
                           *map(str, files))
    assert result.code == 0
    printed.append([json.loads(line) for line in result.out.splitlines()])
  assert result.err.endswith(f'with {export}.\n')
  for ours, theirs in zip(*printed, strict=True):
    assert ours['file'] == theirs['file']
    for p, q in zip(ours['predictions'], theirs['predictions'], strict=True):
      assert p['class'] == q['class']
      assert p['probability'] == pytest.approx(q['probability'], abs=1e-4)
  result = processes.run('resnet.predict', f'--model={tmp_path}', 'cat.jpg')
  assert result.code == 2
  line, = result.err.splitlines()
  assert line.startswith(f'error: --model={tmp_path} is not an export')


def test_something_else(tmp_path, trained):
  for path in (tmp_path, tmp_path / 'nowhere', trained.workdir):
    with pytest.raises(UserError, match='is not an export .there is no'):
      exported.load(path)


def _damage_graph(path):
  (path / 'saved_model' / 'saved_model.pb').write_bytes(b'not a graph')


def _remove_variables(path):
  shutil.rmtree(path / 'saved_model' / 'variables')


def _flip_a_bit(path):
  file, = (path / 'saved_model' / 'variables').glob('*.data-*')
  content = bytearray(file.read_bytes())
  content[len(content) // 2] ^= 1
  file.write_bytes(content)


def _change_record(**changes):
  def change(path):
    file = path / 'export.json'
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
  return change


@pytest.mark.parametrize('change, words', [
    (_damage_graph, 'are not those that export.json lists'),
    (_remove_variables, 'are not those that export.json lists'),
    (_flip_a_bit, 'are not those that export.json lists'),
    (_change_record(layout=99), 'an export of another version'),
    (_change_record(classes=['a', 'b']), '3 logits, but names of 2 classes'),
    (lambda path: (path / 'export.json').write_text('{'), 'is damaged')])
def test_an_export_that_is_not_whole(copy, change, words):
  change(copy)
  with pytest.raises(UserError, match=words):
    exported.load(copy)


@pytest.mark.parametrize('change', [_damage_graph, _remove_variables])
def test_damage_that_no_record_shows(copy, change):
  (copy / 'export.json').unlink()
  change(copy)
  with pytest.raises(UserError, match='cannot be loaded'):
    exported.load(copy)


def test_a_saved_model_of_something_else(tmp_path):
  import tensorflow as tf
  module = tf.Module()
  module.f = tf.function(lambda x: x, input_signature=[
      tf.TensorSpec([None], tf.string, 'encoded')])
  tf.saved_model.save(module, str(tmp_path / 'a'), {'serving_default':
                                                    module.f})
  tf.saved_model.save(module, str(tmp_path / 'b'), {'encoded': module.f})
  for name in 'ab':
    with pytest.raises(UserError, match='takes no encoded pictures, or ret'):
      exported.load(tmp_path / name)
