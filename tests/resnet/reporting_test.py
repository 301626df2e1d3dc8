"""The parts of a report, against figures by hand and published ones."""
import io
import json
import weakref

import keras
import numpy as np
from PIL import Image
import pytest

from configs import schema
from configs.process.errors import UserError
from pipelines import batches, sources
from pipelines.options import Reading
from resnet.reporting import (
  curves,
  first_images,
  model_summary,
  picture_sheet,
  runs,
  weights_text,
)
from resnet.reporting.unavailable import Unavailable
from resnet.run import checkpoint_file
from tests.resnet import written_runs


def _runs(folder, **metrics):
  """Writes and reads runs, {name: text of metrics.jsonl}."""
  return runs.read([written_runs.write(folder / name, text)
                    for name, text in metrics.items()])


def _drawn(axes):
  """Returns {(line style, color): (xs, ys)} of the lines of an Axes."""
  return {(line.get_linestyle(), line.get_color()): (
      [*line.get_xdata()], [*line.get_ydata()]) for line in axes.get_lines()}


def _legend(figure):
  return [text.get_text() for text in figure.legends[0].get_texts()]


def test_curves_of_one_run(tmp_path):
  pytest.importorskip('matplotlib')
  figure = curves.accuracy_and_loss(_runs(tmp_path, run=written_runs.lines()))
  accuracy, loss = figure.axes
  epochs = [1, 2, 3, 4]
  assert _drawn(accuracy) == {
      ('--', 'C0'): (epochs, [0.25, 0.5, 0.625, 0.75]),
      ('-', 'C0'): (epochs, [0.5, 0.75, 0.875, 0.625])}
  assert _drawn(loss) == {('--', 'C0'): (epochs, [2, 1.25, 1, 0.5]),
                          ('-', 'C0'): (epochs, [1.5, 0.75, 0.875, 1])}
  assert (accuracy.get_ylabel(), loss.get_ylabel()) == ('accuracy', 'loss')
  assert _legend(figure) == ['training', 'evaluation']
  assert figure.get_suptitle() == 'run'


def test_the_error_of_two_runs(tmp_path):
  pytest.importorskip('matplotlib')
  two = _runs(tmp_path, plain=written_runs.lines(
      train=[(10, 0.75, 1)], evals=[(10, 0.5, 1), (20, 0.875, 1)]),
              _50_=written_runs.lines(train=[], evals=[(5, 1.0, 0)]))
  figure = curves.error(two)
  axes, = figure.axes
  assert _drawn(axes) == {
      ('--', 'C0'): ([1], [25]), ('-', 'C0'): ([1, 2], [50, 12.5]),
      ('-', 'C1'): ([0.5], [0])}
  assert axes.get_ylabel() == 'error (%)' and axes.get_ylim()[0] == 0
  # matplotlib would leave out a name that begins with an underscore.
  assert _legend(figure) == ['training', 'evaluation', 'plain', ' _50_']


def test_names_are_no_formulas_and_a_picture_is_a_png(tmp_path):
  colors = pytest.importorskip('matplotlib.colors')
  many = _runs(tmp_path, **{
      f'{name}$\\frac$': written_runs.lines() for name in 'abcdefghijkl'})
  picture = curves.picture(curves.accuracy_and_loss(many))
  width, height = Image.open(io.BytesIO(picture)).size
  assert width == 1650 and height > 600
  figure = curves.accuracy_and_loss(many)
  assert len({colors.to_rgba(line.get_color())
              for line in figure.axes[0].get_lines()}) == 12


def test_what_has_no_place_in_a_picture_is_left_out(tmp_path):
  text = written_runs.lines(train=[(10, 0.5, float('inf'))], evals=[
      (10, 0.5, float('nan')), (20, 0.75, 2.0)])
  without_epoch = json.dumps({'split': 'train', 'step': 3, 'accuracy': 0.1})
  run = _runs(tmp_path, run=text + without_epoch + '\n')
  assert curves.of_metric(run, 'loss') == [
      curves.Curve(0, 'eval', [2.0], [2.0])]
  assert curves.of_metric(run, 'accuracy') == [
      curves.Curve(0, 'train', [1.0], [0.5]),
      curves.Curve(0, 'eval', [1.0, 2.0], [0.5, 0.75])]


def test_runs_without_a_common_curve(tmp_path):
  two = _runs(tmp_path, a=written_runs.lines(evals=[]),
              b=written_runs.lines(train=[]))
  with pytest.raises(UserError) as refused:
    curves.accuracy_and_loss(two)
  assert str(refused.value) == (
      'The runs have no curve in common '
      f'({tmp_path}/a has accuracy of training and loss of training; '
      f'{tmp_path}/b has accuracy of evaluation and loss of evaluation): '
      'give runs that have been trained, or evaluated, alike.')


def test_a_run_without_figures(tmp_path):
  both = _runs(tmp_path, a=written_runs.lines(), b='')
  with pytest.raises(UserError, match=r'b/metrics\.jsonl has no accuracy or'):
    curves.error(both)


def test_names_tell_runs_apart(tmp_path):
  for parent in 'xy':
    written_runs.write(tmp_path / parent / 'run')
  two = [tmp_path / 'x' / 'run', tmp_path / 'y' / 'run']
  assert [run.name for run in runs.read(two)] == ['x/run', 'y/run']
  assert [run.name for run in runs.read(two[:1])] == ['run']
  with pytest.raises(UserError, match='x/run twice: give each run once'):
    runs.read([two[0], tmp_path / 'y' / '..' / 'x' / 'run'])


def test_paths_may_contain_commas(tmp_path):
  (tmp_path / 'a=1,2').mkdir()
  text = f'{tmp_path}/a=1,2,b,{tmp_path}/a=1'
  assert [*runs.split_paths(text)] == [
      f'{tmp_path}/a=1,2', 'b', f'{tmp_path}/a=1']


def test_the_screen_names_the_last_and_the_best_figures(tmp_path):
  written_runs.write(tmp_path / 'a')
  run, = runs.read([tmp_path / 'a'])
  assert runs.screen(run).splitlines() == [
      f'run         {tmp_path}/a: keras_v1 on digits, step 40 of 40',
      'training    last accuracy 0.7500, loss 0.5000 at step 40 (epoch 4)',
      'evaluation  last accuracy 0.6250, loss 1.0000, examples 360 at step 40 '
      '(epoch 4)',
      '            best accuracy 0.8750, loss 0.8750, examples 360 at step 30 '
      '(epoch 3) (by accuracy)']
  run.config.monitor.metric = 'loss'
  assert 'best accuracy 0.7500, loss 0.7500' in runs.screen(run)
  run.config.monitor.metric = 'top5_accuracy'  # Of fewer than six classes.
  assert 'best' not in runs.screen(run)


def _imagenet(**fields):
  """Returns (weights, multiply-adds) of a network for 224 x 224 pixels."""
  config = schema.Config(model=schema.Model(
      family='imagenet', stem='imagenet', width=64, version='v1.5', **fields))
  return model_summary.totals(model_summary.build(
      config, {'image_shape': [224, 224, 3], 'classes': ['?'] * 1000}))


@pytest.mark.parametrize('fields, weights, billions', [
    # num_params and GFLOPS in the documentation of torchvision.models.
    ({'depth': 18}, 11_689_512, 1.814),
    ({'depth': 34}, 21_797_672, 3.664),
    ({'depth': 50}, 25_557_032, 4.089),
    ({'depth': 50, 'groups': 32, 'inner_width': 2}, 25_028_904, 4.230),
    ({'depth': 50, 'inner_width': 2}, 68_883_240, 11.398)])
def test_published_weights_and_multiply_adds(fields, weights, billions):
  found, products = _imagenet(**fields)
  assert (found, round(products / 1e9, 3)) == (weights, billions)


class _Matrix(keras.layers.Layer):
  """Multiplies by a matrix that is not called kernel."""

  def build(self, input_shape):
    self.matrix = self.add_weight(shape=(input_shape[-1], 3))

  def call(self, x):
    return x @ self.matrix


def test_what_is_not_counted_is_named():
  image = keras.Input((5, 6, 4), name='image')
  x = keras.layers.Conv2D(10, 3, name='conv', use_bias=False)(image)
  x = keras.layers.Conv2D(6, (1, 3), groups=2, name='grouped')(x)
  model = keras.Model(image, _Matrix(name='odd')(x))
  rows = {row.name: row[2:] for row in model_summary.rows(model)}
  # (output, weights, statistics, multiply-adds, whether it is unknown).
  assert rows['conv'] == ((3, 4, 10), 360, 0, 3 * 4 * 360, False)
  assert rows['grouped'] == ((3, 2, 6), 1 * 3 * 5 * 6 + 6, 0, 3 * 2 * 90, False)
  assert rows['odd'] == ((3, 2, 3), 18, 0, 0, True)
  assert 'although they have weights: odd.\n' in model_summary.text(model, '')


def test_a_table_by_hand():
  image = keras.Input((4, 4, 2), name='image')
  x = keras.layers.DepthwiseConv2D(3, depth_multiplier=5, name='each')(image)
  x = keras.layers.BatchNormalization(name='norm')(x)
  x = keras.layers.Flatten(name='flat')(x)
  model = keras.Model(image, keras.layers.Dense(300, name='last')(x))
  head, rest = model_summary.text(model, 'A title').split('\n\nMultiply-adds')
  assert head == 'A title'
  words = [line.split() for line in rest.splitlines()[7:]]
  assert [line for line in words if '---' not in line[0]] == [
      # Of each of 2 x 2 pixels, 2 channels x 5 kernels x 3 x 3.
      'layer kind output weights statistics multiply-adds'.split(),
      'image InputLayer 4 x 4 x 2 0 0 0'.split(),
      'each DepthwiseConv2D 2 x 2 x 10 100 0 360'.split(),
      'norm BatchNormalization 2 x 2 x 10 20 20 0'.split(),
      'flat Flatten 40 0 0 0'.split(),
      'last Dense 300 12,300 0 12,000'.split(),
      'total 5 layers 12,420 20 12,360'.split()]


@pytest.mark.parametrize('fields', [
    {'data': schema.Data(image_size=40), 'augment': schema.Augment(
        sizes=(16, 32))},
    {'data': schema.Data(image_size=40, eval_size=48)},
    {'precision': 'bfloat16'}])
def test_the_network_of_a_run(fields):
  """A network for several sizes is that of the data; precision does not count.
  """
  config = schema.Config(model=schema.Model(depth=8), **fields)
  rows = model_summary.rows(model_summary.build(
      config, {'image_shape': [40, 40, 3], 'classes': ['a', 'b']}))
  assert rows[0].output == (40, 40, 3) and rows[-1].output == (2,)
  # 3x3: stem; two of each stage; 1x1: two shortcuts; and the classifier.
  assert sum(row.weights for row in rows if row.multiply_adds) == (
      9 * (3 * 16 + 16 * 16 * 2 + 16 * 32 + 32 * 32 + 32 * 64 + 64 * 64)
      + 16 * 32 + 32 * 64 + 65 * 2)


_ODD = np.array([[0.1, -2, 1e-45], [np.inf, -0.0, 3.4028235e38],
                 [-np.inf, np.nan, 16777216]], np.float32)


def test_the_text_of_a_variable():
  assert b''.join(weights_text.text_of('a/b', _ODD)) == (
      b'a/b float32 3x3\n0.1 -2.0 1e-45\ninf -0.0 3.4028235e+38\n'
      b'-inf nan 1.6777216e+07\n')
  assert b''.join(weights_text.text_of('c', np.float32(2).reshape(()))) == (
      b'c float32 -\n2.0\n')


@pytest.mark.parametrize('shape', [
    (), (5,), (2, 3, 4, 7), (300, 1000), (70000,), (70000, 2)])
def test_weights_are_read_back_to_the_bit(shape):
  bits = np.random.default_rng(0).integers(0, 2**32, shape, np.uint32)
  values = np.array(bits, np.uint32).view(np.float32)
  values[np.isnan(values)] = np.nan  # One of many.
  text = b''.join(weights_text.text_of('w', values)).decode()
  (name, found), = weights_text.parse(['# A comment.\n', *text.splitlines()])
  assert (name, found.dtype, found.shape) == ('w', np.float32, shape)
  np.testing.assert_array_equal(found.view(np.uint32), values.view(np.uint32))


@pytest.fixture(scope='module', name='network')
def _network():
  return model_summary.build(written_runs.CONFIG, written_runs.data())


@pytest.fixture(name='run')
def _run(tmp_path):
  return written_runs.write(tmp_path / 'run')


def _write(run, network, **kwargs):
  return weights_text.write(
      run / 'weights.txt', run / 'checkpoints', network, **kwargs)


def test_all_trainable_variables_are_written_in_order(run, network):
  tensors = written_runs.weights(seed=1)
  slots = {f'momentum/{name}': values for name, values in tensors.items()}
  written_runs.save(run, tensors | slots, 20)
  written_runs.save(run, written_runs.weights(seed=2), 9)
  assert _write(run, network) == 20
  lines = (run / 'weights.txt').read_text().splitlines()
  assert lines[0].startswith('# The 34 trainable variables of the checkpoint of'
                             ' step 20')
  found = dict(weights_text.parse(lines))
  assert [*found] == [v.path for v in network.trainable_variables]
  for name, values in found.items():
    np.testing.assert_array_equal(values, tensors[f'model/{name}'])
  assert _write(run, network, step=9) == 9


def test_one_tensor_after_the_other_is_in_memory(run, network, monkeypatch):
  written_runs.save(run, written_runs.weights(), 20)
  read, most, tensor = [], [], checkpoint_file._tensor

  def counted(file, entry):
    most.append(sum(reference() is not None for reference in read))
    values = tensor(file, entry)
    read.append(weakref.ref(values))
    return values

  monkeypatch.setattr(checkpoint_file, '_tensor', counted)
  _write(run, network)
  assert len(most) == 35  # And the step.
  assert max(most) <= 2  # While another is read.


def test_a_damaged_checkpoint_is_passed_over(run, network, capsys):
  for step in (10, 20):
    written_runs.save(run, written_runs.weights(seed=step), step)
  data = run / 'checkpoints' / 'ckpt-20.data-00000-of-00001'
  data.write_bytes(bytes(data.stat().st_size))
  assert _write(run, network) == 10
  assert 'ckpt-20 is damaged (' in capsys.readouterr().err
  with pytest.raises(UserError, match='checkpoint of --step=20 in .* is damaged'
                     ' .*: restore it from a backup, or choose one of 10\\.'):
    _write(run, network, step=20)
  (run / 'checkpoints' / 'ckpt-10.data-00000-of-00001').unlink()
  (run / 'weights.txt').unlink()
  with pytest.raises(UserError, match=r'can be read \(step 10, step 20\): '):
    _write(run, network)
  assert not list(run.glob('weights*'))  # Nor a part of it.


@pytest.mark.parametrize('change, words', [
    (lambda tensors: tensors.pop('model/logits/kernel'),
     'it lacks model/logits/kernel'),
    (lambda tensors: tensors.update({'model/logits/bias': np.zeros(3)}),
     r'logits/bias is not of shape \[10\]'),
    (lambda tensors: tensors.update({'step': np.array(7)}),
     'it does not hold step 20')])
def test_a_checkpoint_of_another_network(run, network, change, words):
  tensors = written_runs.weights()
  change(tensors)
  written_runs.save(run, tensors, 20)
  with pytest.raises(UserError, match=f'ckpt-20 is not of the network .*{words}'
                     ):
    _write(run, network)


def test_a_run_without_checkpoints(run, network):
  with pytest.raises(UserError, match='There is no checkpoint in .*: train '):
    _write(run, network)
  written_runs.save(run, written_runs.weights(), 20)
  with pytest.raises(UserError, match='--step=3 has no checkpoint .* of 20'):
    _write(run, network, step=3)


def test_first_images_are_those_of_the_run():
  config = written_runs.CONFIG
  source = first_images.open_split(config, written_runs.data(), Reading())
  picture = Image.open(io.BytesIO(first_images.draw(
      config, source, written_runs.data()['classes'])))
  # 4 rows of 8 images of 8 pixels, each as 12 x 12, and captions.
  assert picture.size == (8 * 100 + 4, 4 * (100 + 16) + 4)
  pixels = np.asarray(picture)[..., 0]
  shown = np.stack([pixels[y + 4:y + 100:12, x + 4:x + 100:12]
                    for y in range(0, 4 * 116, 116)
                    for x in range(0, 8 * 100, 100)])
  batch = next(iter(batches.train(  # Of 64 images.
      sources.load('digits', 'train'), seed=config.seed,
      global_batch=config.global_batch, first_step=0, last_step=1)))
  np.testing.assert_array_equal(shown, batch['image'][:32, ..., 0])
  # A caption has black on white, at the left.
  assert (pixels[100:116, 4:20] < 128).any() and (pixels[:4] == 255).all()


def test_captions():
  assert first_images.caption(['cat', 'dog'], np.int32(1)) == '1: dog'
  assert first_images.caption(['0', '1'], np.int32(1)) == '1'


def test_images_of_other_data():
  record = written_runs.data()
  record['train']['digest'] = 'f' * 64
  with pytest.raises(Unavailable, match='content of the training split'):
    first_images.open_split(written_runs.CONFIG, record, Reading())


def test_images_that_are_not_there(tmp_path):
  config = schema.Config(data=schema.Data(name='cifar10'))
  with pytest.raises(Unavailable, match='The first images need the training d'):
    first_images.open_split(config, written_runs.data(), Reading(str(tmp_path)))


@pytest.mark.parametrize('channels', [1, 2, 3, 5])
@pytest.mark.parametrize('side, shown', [(1, 96), (50, 100), (200, 200),
                                         (1000, 256)])
def test_images_of_any_size_are_shown(side, shown, channels):
  image = np.zeros((side, side // 2 or 1, channels), np.uint8)
  sheet = Image.open(io.BytesIO(picture_sheet.png(
      [image] * 3, ['a', 'b' * 500, ''])))
  assert sheet.height == 4 + shown + 16 + 4
  width = (sheet.width - 4) // 3 - 4
  # A caption ends before the next image.
  pixels = np.asarray(sheet)[-16:, ..., 0]
  assert (pixels[:, width + 8:2 * width + 8] < 128).any()
  assert (pixels[:, 2 * (width + 4) + 4:] == 255).all()
