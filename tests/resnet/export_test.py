"""Exports compute what evaluation does, without this project."""
import dataclasses
import importlib.util
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from configs import schema
from configs.process.errors import UserError
from pipelines.single_pictures import Preprocessing
from resnet.exporting import comparison, exports, formats, inference
from resnet.inference import restored as restored_lib
from tests import processes
from tests.resnet import restorable_runs

_CLASSES = ('cat', 'dog', 'sea lion', 'Ölfisch', 'a,b"c')
_SMALL = schema.Model(depth=8, width=4)
_RUNS = {
    'gray, average': (schema.Config(
        model=_SMALL, data=schema.Data(), ema=schema.Ema(decay=0.9),
        train_steps=9), (8, 8, 1)),
    'color, of one size': (schema.Config(
        model=dataclasses.replace(_SMALL, version='v2', shortcut='A'),
        data=schema.Data(name='own', center='pixel', eval_flip=True, pad_to=32),
        loss='sigmoid', precision='bfloat16', train_steps=9), (32, 32, 3)),
    'photographs': (schema.Config(
        model=schema.Model(
            depth=11, block='bottleneck', width=8, version='v1.5', stem='deep',
            shortcut='D', blur_pool=True, squeeze_excite=16,
            stochastic_depth=0.2, dropout=0.2),
        data=schema.Data(name='photos', image_size=64, eval_size=96,
                         interpolation='bicubic'),
        augment=schema.Augment(sizes=(48, 64)), train_steps=9), (96, 96, 3)),
}
_AVAILABLE = [name for name, known in formats.FORMATS.items() if all(
    importlib.util.find_spec(module) for module, _ in known.packages)]


def _write_run(folder, config, shape, classes=_CLASSES):
  return restorable_runs.write(
      folder, config, restorable_runs.record(classes, shape))


@pytest.fixture(scope='module', params=_RUNS)
def exported(request, tmp_path_factory):
  """(the restored run, the folder of its export, what `export` returned)."""
  run = restored_lib.restore(_write_run(
      tmp_path_factory.mktemp('run') / 'r', *_RUNS[request.param]))
  done = exports.export(run, _AVAILABLE, precisions=['float32', 'float16'],
                        count=5)
  return run, run.workdir / 'export', done


def _pictures(run):
  """Returns batches of pictures of the network's size and of others."""
  rng = np.random.default_rng(5)
  height, width, channels = run.image_shape
  return [rng.integers(0, 256, (2, *size, channels), np.uint8) for size in (
      (height, width), (height + 17, 2 * width), (height // 2, width - 3))]


def _expected(run, pictures):
  """Returns logits of Keras's call of the trained network, in float32."""
  state, config = run.state, run.config
  images = Preprocessing.of(config.data, run.image_shape).pixels(
      tf.constant(pictures)).numpy().astype(np.float64)
  model = restored_lib.network.build_model(
      dataclasses.replace(config, precision='float32'), run.image_shape,
      len(run.classes))
  values = [*state.params, *state.statistics]
  if config.ema.decay:
    values = state.averages
  for variable, value in zip(
      [*model.trainable_variables, *model.non_trainable_variables], values):
    variable.assign(value)

  def of(images):
    standardized = (images - state.mean.numpy()) / state.stddev.numpy()
    inputs = {'image': standardized.astype(np.float32),
              'position': np.zeros(len(images), np.int64)}
    return model({name: inputs[name] for name in model.input},
                 training=False).numpy()

  if config.data.eval_flip:
    return (of(images) + of(images[:, :, ::-1])) / 2
  return of(images)


def _load(name, path):
  """Returns pictures -> {output: array} of an export."""
  if name == 'saved_model':
    loaded = tf.saved_model.load(path)
    function = loaded.signatures['serving_default']
    return lambda pictures, loaded=loaded: {
        key: value.numpy()
        for key, value in function(images=tf.constant(pictures)).items()}
  if name == 'keras':
    return keras.saving.load_model(path).predict
  if name == 'onnx':
    import onnxruntime
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    return lambda pictures: dict(zip(
        names, session.run(names, {'images': pictures})))
  from ai_edge_litert import interpreter
  run = interpreter.Interpreter(path).get_signature_runner()
  return lambda pictures: run(images=pictures)


def _softmax(logits):
  powers = np.exp(logits - logits.max(1, keepdims=True))
  return powers / powers.sum(1, keepdims=True)


@pytest.mark.slow
def test_each_format_computes_what_evaluation_does(exported):
  run, folder, done = exported
  assert {one.format for one in done} == set(_AVAILABLE)
  pictures = _pictures(run)
  expected = [_expected(run, batch) for batch in pictures]
  span = np.ptp(np.concatenate(expected))
  for one in done:
    assert one.path.parent == folder
    assert one.difference <= formats.TOLERANCES[one.precision]
    compute = _load(one.format, os.fspath(one.path))
    for batch, logits in zip(pictures, expected):
      found = compute(batch)
      np.testing.assert_allclose(
          found['logits'], logits, rtol=0,
          atol=formats.TOLERANCES[one.precision] * span, err_msg=one.path.name)
      probabilities = (_softmax(found['logits']) if run.config.loss == 'softmax'
                       else 1 / (1 + np.exp(-found['logits'])))
      np.testing.assert_allclose(
          found['probabilities'], probabilities, atol=1e-5)


@pytest.mark.slow
def test_encoded_pictures_of_several_sizes(exported):
  run, folder, _ = exported
  pictures = [batch[0] for batch in _pictures(run)]
  signature = tf.saved_model.load(folder / 'saved_model').signatures['encoded']
  found = signature(encoded=tf.stack(
      [tf.io.encode_png(picture) for picture in pictures]))
  expected = np.concatenate([
      _expected(run, picture[np.newaxis]) for picture in pictures])
  np.testing.assert_allclose(
      found['logits'], expected, rtol=0, atol=1e-4 * np.ptp(expected))
  label = expected.argmax(1)
  np.testing.assert_array_equal(found['label'], label)
  assert [name.decode() for name in found['class'].numpy()] == [
      _CLASSES[i] for i in label]
  assert found['label'].dtype == tf.int64


@pytest.mark.slow
def test_names_of_classes_are_inside(exported):
  run, folder, _ = exported
  text = ''.join(f'{name}\n' for name in run.classes)
  assert (folder / 'saved_model/assets/classes.txt').read_text('utf-8') == text
  for file in ('model.keras', 'model.tflite', 'model_float16.tflite'):
    if (folder / file).exists():
      assert zipfile.ZipFile(folder / file).read('classes.txt').decode() == text
  if (folder / 'model.onnx').exists():
    import onnx
    props = {p.key: p.value for p in onnx.load(
        folder / 'model.onnx').metadata_props}
    assert json.loads(props['classes']) == list(run.classes)


@pytest.mark.slow
def test_the_record(exported):
  run, folder, done = exported
  record = json.loads((folder / 'export.json').read_text())
  assert record['classes'] == list(_CLASSES)
  assert (record['step'], record['averaged']) == (
      7, bool(run.config.ema.decay))
  assert record['exports'].keys() == {one.path.name for one in done}
  files = [file for one in record['exports'].values() for file in one['files']]
  assert sorted([*files, 'export.json']) == sorted(
      os.fspath(path.relative_to(folder)) for path in folder.rglob('*')
      if path.is_file())
  assert (record['rounding'] > 1e-4) == (run.config.precision == 'bfloat16')


def _small_run(folder, **changes):
  config, shape = _RUNS['gray, average']
  return restored_lib.restore(_write_run(
      folder, dataclasses.replace(config, **changes), shape))


@pytest.mark.slow
def test_an_export_that_differs_is_refused(tmp_path, monkeypatch):
  """And what was there stays; a second format is added to it."""
  run = _small_run(tmp_path / 'r')
  exports.export(run, ['saved_model'], count=2)
  folder = tmp_path / 'r' / 'export'
  before = (folder / 'export.json').read_bytes()
  values_of = inference.values_of
  with monkeypatch.context() as patch:
    patch.setattr(inference, 'values_of', lambda *arguments: {
        path: 1.001 * value for path, value in values_of(*arguments).items()})
    with pytest.raises(comparison.Refused, match=(
        'saved_model differs from evaluation by .*e-0.* nothing is exported')):
      exports.export(run, ['saved_model'], count=2)
  assert (folder / 'export.json').read_bytes() == before
  exports.export(run, ['keras'], count=2)
  assert sorted(os.listdir(folder)) == [
      'export.json', 'model.keras', 'saved_model']
  assert set(json.loads((folder / 'export.json').read_text())['exports']) == {
      'saved_model', 'model.keras'}
  assert sorted(os.listdir(tmp_path / 'r')) == [
      'checkpoints', 'config.json', 'data.json', 'export']


@pytest.mark.slow
def test_other_weights_replace_all_formats(tmp_path, capsys):
  run = _small_run(tmp_path / 'r')
  exports.export(run, ['saved_model'], count=2)
  exports.export(run, ['keras'], count=2, weights='raw')
  assert sorted(os.listdir(tmp_path / 'r' / 'export')) == [
      'export.json', 'model.keras']
  assert 'saved_model in' in capsys.readouterr().err


def _own_run(folder, function):
  """Returns a run of a network with a layer that calls a function."""
  run = _small_run(folder)
  image = keras.Input((8, 8, 1), name='image')

  class Own(keras.layers.Layer):
    def call(self, x):
      return function(x)

  x = Own(name='mine')(keras.layers.Flatten()(image))
  model = keras.Model({'image': image}, keras.layers.Dense(5)(x))
  values = [v.value for v in model.trainable_variables]
  return run._replace(model=model, state=run.state._replace(
      params=values, statistics=[], moving=[], averages=values))


@pytest.mark.slow
def test_a_network_that_keras_does_not_have(tmp_path):
  """It is exported as it is, but not as a .keras file."""
  run = _own_run(tmp_path / 'r', lambda x: 2 * x)
  done, = exports.export(run, ['saved_model'], count=2)
  assert done.difference < 1e-6
  with pytest.raises(UserError, match='but mine is a Own: leave keras out'):
    exports.export(run, ['keras'], count=2)


@pytest.mark.parametrize('name, converter', [
    ('onnx', 'tf2onnx'), ('litert', "TensorFlow's converter")])
def test_a_network_that_converters_do_not_know(tmp_path, name, converter):
  if name not in _AVAILABLE:
    pytest.skip(f'{name} needs packages that are not installed')
  run = _own_run(tmp_path / 'r', lambda x: tf.math.bessel_i0e(tf.abs(x)))
  with pytest.raises(UserError, match=(
      f'--format={name} is not possible, because {converter} cannot convert')):
    exports.export(run, [name], count=2)
  assert not (tmp_path / 'r' / 'export').exists()


_CURIOUS_KERAS = """
class saving:
  def load_model(path):
    import resnet
    raise OSError('it is here')
"""


def test_the_fresh_process_does_not_know_the_project(tmp_path, monkeypatch):
  run = _small_run(tmp_path / 'r')
  (tmp_path / 'keras.py').write_text(_CURIOUS_KERAS)
  monkeypatch.syspath_prepend(tmp_path)
  found = exports.pictures.at_random(run.image_shape, 1)
  with pytest.raises(comparison.Refused, match=(
      r'x\.keras cannot be used without this project \(.*resnet halted')):
    comparison.difference(
        'keras', tmp_path / 'x.keras', inference.build(run, False),
        comparison.Expected(found, *[np.zeros((1, 5), np.float32)] * 3))


@pytest.mark.parametrize('names, words', [
    ([], '--format= is not allowed: give some of saved_model,keras,onnx,lite'),
    (['onxx'], '--format=onxx is not allowed')])
def test_an_unknown_format(names, words):
  with pytest.raises(UserError, match=words):
    formats.check(names, ['float32'])


@pytest.mark.parametrize('name, module, package', [
    ('onnx', 'tf2onnx', 'tf2onnx'), ('onnx', 'onnxruntime', 'onnxruntime'),
    ('litert', 'ai_edge_litert', 'ai-edge-litert')])
def test_a_missing_converter(monkeypatch, name, module, package):
  for other in ('tf2onnx', 'onnx', 'onnxruntime', 'ai_edge_litert'):
    monkeypatch.setitem(sys.modules, other, dataclasses)  # Is there.
  monkeypatch.setitem(sys.modules, module, None)
  with pytest.raises(UserError, match=(
      f'--format={name} needs {package}, which is not installed: run `pip')):
    formats.check(['saved_model', name], ['float32'])


def test_precisions_of_formats():
  assert formats.check(['keras', 'saved_model'], ['float16']) == [
      ('saved_model', 'float32'), ('keras', 'float32')]
  with pytest.raises(UserError, match='--precision=int8 is not allowed'):
    formats.check(['saved_model'], ['int8'])


@pytest.mark.parametrize('changes, weights, words', [
    ({}, 'best', '--weights=best is not allowed'),
    ({'ema': schema.Ema()}, 'average', 'needs a run that keeps an average')])
def test_weights_that_are_not_there(tmp_path, changes, weights, words):
  run = _small_run(tmp_path / 'r', **changes)
  with pytest.raises(UserError, match=words):
    exports.export(run, ['saved_model'], weights=weights)


def test_a_folder_with_something_else(tmp_path):
  run = _small_run(tmp_path / 'r')
  (tmp_path / 'notes').write_text('mine')
  with pytest.raises(UserError, match='holds something else than an export'):
    exports.export(run, ['saved_model'], tmp_path)


@pytest.mark.slow
def test_the_program(tmp_path):
  """On digits, whose pictures are compared, with one checkpoint and none."""
  run = _write_run(
      tmp_path / 'r', *_RUNS['gray, average'], list('0123456789'))
  done = processes.run('resnet.export', f'--workdir={run}', '--pictures=7')
  assert (done.code, done.err) == (0, '')
  assert 'saved_model in float32' in done.out
  assert '(7 images of digits test)' in done.out
  for file in (run / 'checkpoints').iterdir():
    file.unlink()
  done = processes.run('resnet.export', f'--workdir={run}',
                       f'--output={tmp_path / "new"}')
  assert done.code == 2
  assert 'There is no checkpoint in' in done.err
  assert not (tmp_path / 'new').exists()


def _start(run, *argv, **options):
  return subprocess.Popen(
      [sys.executable, '-m', 'resnet.export', f'--workdir={run}', *argv],
      cwd=pathlib.Path(__file__).parents[2], stderr=subprocess.PIPE, text=True,
      **options)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['saved_model', 'keras'])
def test_a_full_disk(tmp_path, name):
  """No file may be larger than 4 KiB, which the weights are."""
  run = _write_run(tmp_path / 'r', *_RUNS['gray, average'])
  process = _start(run, f'--format={name}', preexec_fn=lambda: (
      resource.setrlimit(resource.RLIMIT_FSIZE, (2**12, 2**12))))
  _, err = process.communicate(timeout=300)
  assert process.returncode == 2
  assert 'cannot be written (' in err
  assert 'File too large' in err
  assert err.count('\n') == 1, err
  assert not [path for path in os.listdir(run) if 'export' in path]


@pytest.mark.slow
def test_a_kill(tmp_path):
  run = _write_run(tmp_path / 'r', *_RUNS['gray, average'])
  process = _start(run)
  while not list(run.glob('export.*.partial/saved_model')):
    assert process.poll() is None
    time.sleep(0.01)
  process.send_signal(signal.SIGKILL)
  process.wait()
  process.stderr.close()
  assert not (run / 'export').exists()
