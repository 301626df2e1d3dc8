"""`python -m resnet.evaluate`: in depth, on other data, of averaged weights."""
import csv
import errno
import json
import pathlib

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from configs import schema
from configs.process import atomic_file
from configs.process.errors import UserError
from pipelines import sources
from pipelines.options import Reading
from resnet import loop
from resnet.evaluation import (
  averaging,
  evaluation,
  evaluator,
  figures,
  in_depth,
  screen,
  trained,
)
from resnet.evaluation import examples as examples_lib
from resnet.evaluation.examples import Examples
from resnet.execution.options import Options
from resnet.inference import restored
from resnet.run import description, summaries
from tests import processes, tiny_dataset
from tests.resnet import strategies

_FILES = ['calibration.csv', 'calibration.png', 'confused.png', 'confusion.csv',
          'confusion.png', 'metrics.json', 'per_class.csv', 'predictions.csv',
          'worst.png']
_OPTIONS = Options(eval_every_steps=10, save_every_steps=10, keep_last=5)


def _train(folder, reading=_OPTIONS.reading, **changes):
  config = schema.Config(**{
      'model': schema.Model(depth=8, width=4), 'train_steps': 30,
      'global_batch': 64, 'eval_batch': 100, **changes})
  loop.train_and_evaluate(
      config, strategies.on_cpus(1), folder,
      _OPTIONS._replace(reading=reading))
  return folder


def _evaluate(folder, **options):
  return evaluation.evaluate(folder, strategy=strategies.on_cpus(1), **options)


@pytest.fixture(scope='module')
def run_folder(tmp_path_factory):
  """A run on digits with 3 checkpoints, too short to be right always."""
  return _train(tmp_path_factory.mktemp('run'))


@pytest.fixture(scope='module', name='depth')
def _depth(run_folder, tmp_path_factory):
  """(what an evaluation in depth found, its folder)."""
  folder = tmp_path_factory.mktemp('depth')
  found = evaluation.evaluate(
      run_folder, strategy=strategies.on_cpus(2), details=True,
      fit_temperature=True, output=folder)
  return found, folder


def _rows(path):
  with path.open(encoding='utf-8', newline='') as file:
    return list(csv.DictReader(file))


def _record(folder, step):
  record, = (r for r in summaries.read(folder / 'metrics.jsonl')
             if r['split'] == 'eval' and r['step'] == step)
  return record


def _assert_same(found, expected):
  for name in ('accuracy', 'top5_accuracy', 'examples'):
    assert found[name] == pytest.approx(expected[name], rel=1e-9), name
  assert found['loss'] == pytest.approx(expected['loss'], rel=1e-5)


@pytest.mark.parametrize('which, step', [('latest', 30), ('20', 20)])
def test_sums_are_those_of_the_run(run_folder, which, step):
  found = _evaluate(run_folder, checkpoint=which)
  assert (found['step'], found['data'], found['split']) == (
      step, 'digits', 'test')
  _assert_same(found, _record(run_folder, step))


def test_every_example_is_in_the_predictions_once(depth, run_folder):
  found, folder = depth
  assert sorted(path.name for path in folder.iterdir()) == _FILES == sorted(
      found['written'])
  rows = _rows(folder / 'predictions.csv')
  assert [int(row['index']) for row in rows] == list(range(360))
  labels = sources.load('digits', 'test').labels.numpy()
  assert [int(row['label']) for row in rows] == labels.tolist()
  record = _record(run_folder, 30)
  assert np.mean([row['label'] == row['predicted'] for row in rows]) == (
      pytest.approx(record['accuracy']))
  losses = [float(row['loss']) for row in rows]
  assert np.mean(losses) == pytest.approx(record['loss'], rel=1e-5)
  # Where the prediction is right, its probability is that of the label.
  for row, loss in zip(rows, losses):
    if row['label'] == row['predicted']:
      assert np.exp(-loss) == pytest.approx(float(row['probability']), rel=1e-5)
    else:
      assert np.exp(-loss) <= float(row['probability'])


def test_tables_are_the_counts_of_the_predictions(depth):
  found, folder = depth
  rows = _rows(folder / 'predictions.csv')
  counts = np.zeros((10, 10), int)
  for row in rows:
    counts[int(row['label']), int(row['predicted'])] += 1
  table = _rows(folder / 'confusion.csv')
  assert [row.pop('label') for row in table] == list('0123456789')
  assert [[int(n) for n in row.values()] for row in table] == counts.tolist()
  for i, row in enumerate(_rows(folder / 'per_class.csv')):
    assert (int(row['label']), row['class']) == (i, str(i))
    assert int(row['examples']) == counts[i].sum()
    assert float(row['accuracy']) == float(row['recall']) == pytest.approx(
        counts[i, i] / counts[i].sum())
    if counts[:, i].sum():
      assert float(row['precision']) == pytest.approx(
          counts[i, i] / counts[:, i].sum())
  wrong = counts - np.diag(np.diag(counts))
  assert found['details']['confused'][0]['examples'] == wrong.max() > 0
  bins = _rows(folder / 'calibration.csv')
  assert len(bins) == 15 and sum(int(b['examples']) for b in bins) == 360


def test_the_metrics_say_all_and_where_it_is_from(depth, run_folder):
  found, folder = depth
  values = json.loads((folder / 'metrics.json').read_text())
  origin = values.pop('origin')
  assert values == {name: value for name, value in found.items()
                    if name not in ('folder', 'written')}
  assert 0 < values['details']['ece'] < 1 and values['checkpoints'] == [30]
  assert origin['run'] == str(run_folder)
  assert origin['data_digest'] == sources.load(
      'digits', 'test').identity.digest
  assert origin['versions']['tensorflow'] == tf.__version__


def test_the_temperature_lowers_the_loss_of_the_split(depth):
  values = depth[0]['temperature']
  assert values['fitted_on'] == 'test' and not values['at_bound']
  assert values['loss_before'] == pytest.approx(depth[0]['loss'], rel=1e-5)
  assert values['ece_before'] == pytest.approx(depth[0]['ece'], abs=1e-6)
  assert values['loss_after'] < values['loss_before']


def _cells(path, side=96, caption=3 * 16, gap=4):
  """Returns the pictures on a sheet that is full, [rows, columns, h, w]."""
  sheet = np.asarray(Image.open(path).convert('L'))
  across, down = side + gap, side + caption + gap
  rows, columns = sheet.shape[0] // down, sheet.shape[1] // across
  return [sheet[gap + i * down:gap + i * down + side,
                gap + j * across:gap + j * across + side]
          for i in range(rows) for j in range(columns)]


def test_sheets_show_the_pictures_they_name(depth):
  _, folder = depth
  rows = _rows(folder / 'predictions.csv')
  images = sources.load('digits', 'test').images.numpy()[..., 0]
  worst = sorted(rows, key=lambda row: -float(row['loss']))[:32]
  cells = _cells(folder / 'worst.png')
  assert len(cells) == 32
  for row, cell in zip(worst, cells):
    np.testing.assert_array_equal(cell[::12, ::12], images[int(row['index'])])
  pair = depth[0]['details']['confused'][0]
  confused = [row for row in rows if (row['label'], row['predicted']) == (
      pair['label'], pair['predicted'])]
  surest = max(confused, key=lambda row: float(row['probability']))
  np.testing.assert_array_equal(
      _cells(folder / 'confused.png')[0][::12, ::12],
      images[int(surest['index'])])


@pytest.mark.parametrize('ema', [
    schema.Ema(),
    pytest.param(schema.Ema(decay=0.8), marks=pytest.mark.slow),
    pytest.param(schema.Ema(decay=0.8, evaluated=False),
                 marks=pytest.mark.slow)])
def test_averaged_checkpoints_are_means_of_what_is_evaluated(
    tmp_path, run_folder, ema):
  run = _train(tmp_path / 'run', ema=ema) if ema.decay else run_folder
  strategy = strategies.on_cpus(1)
  found = trained.open_run(run, strategy, average=2)
  assert found.steps == [20, 30]
  readers = [tf.train.load_checkpoint(str(run / 'checkpoints' / f'ckpt-{step}'))
             for step in (20, 30)]
  own = restored.restore(run, 'latest', strategy)
  averaged = [name for name in found.state.paths
              if name.startswith(('model/', 'average/'))]
  # Convolutions with batch norm: the stem, 3 blocks of 2, 2 shortcuts.
  count = 5 * (1 + 3 * 2 + 2) + 2
  assert len(averaged) == count * (2 if ema.decay else 1)
  for name in averaged:
    first, second = (reader.get_tensor(name) for reader in readers)
    mean = ((first.astype(np.float64) + second) / 2).astype(np.float32)
    np.testing.assert_array_equal(found.state.paths[name].numpy(), mean, name)
    own.state.paths[name].assign(mean)
  np.testing.assert_array_equal(found.state.mean.numpy(),
                                readers[0].get_tensor('mean'))
  # The same as a network that is given the means by hand.
  by_hand = evaluator.Evaluate(
      own.config, strategy, own.model, own.state,
      sources.load('digits', 'test'), jit='false')()
  measured = _evaluate(run, average_checkpoints=2)
  _assert_same(measured, by_hand)
  assert measured['loss'] != pytest.approx(_record(run, 30)['loss'], rel=1e-4)


def test_an_average_ends_at_the_checkpoint_that_is_chosen():
  assert averaging.newest([10, 20, 30], 20, 2) == [10, 20]
  assert averaging.newest([10, 20, 30], 30, 1) == [30]
  with pytest.raises(UserError, match='--average_checkpoints=5 finds only 3 up '
                     r'to step 30 \(steps 10, 20, 30\): give at most 3, or '
                     'train with --keep_last=5'):
    averaging.newest([10, 20, 30, 40], 30, 5)


@pytest.mark.slow
def test_mirror_images_as_if_the_run_had_evaluated_them(tmp_path, run_folder):
  mirrored = _train(tmp_path / 'run', data=schema.Data(eval_flip=True))
  _assert_same(_evaluate(run_folder, flip=True),
               _record(mirrored, 30))
  _assert_same(_evaluate(mirrored, flip=False),
               _record(run_folder, 30))
  plain, both = (_evaluate(mirrored, flip=flip)['loss']
                 for flip in (False, None))
  assert plain != pytest.approx(both, rel=1e-4)
  assert in_depth.folder_name('cifar10:3.0.2', 'train[:90%]', [5, 6], True) == (
      'eval_cifar10-3.0.2_train--90--_step6_mean2_flip')


@pytest.mark.slow
def test_a_sigmoid_has_a_probability_of_its_own(tmp_path):
  run = _train(tmp_path / 'run', loss='sigmoid', train_steps=10)
  found = _evaluate(run, details=True, fit_temperature=True)
  _assert_same(found, _record(run, 10))
  assert pathlib.Path(found['folder']) == run / 'eval_digits_test_step10'
  assert found['temperature']['loss_before'] == pytest.approx(
      found['loss'], rel=1e-5)


def test_another_split(run_folder):
  assert _evaluate(run_folder, split='train')['examples'] == 1437


@pytest.mark.parametrize('data, text', [
    ('synthetic', '--data=synthetic does not fit the run in .*image shape: 8 x '
     '8 x 1 -> 32 x 32 x 3'),
    ('huggingface:mnist', '--data=huggingface:mnist is not the name of'),
    ('no_such_set', 'no_such_set')])
def test_data_that_do_not_fit(run_folder, tmp_path, data, text):
  with pytest.raises(UserError, match=text):
    _evaluate(run_folder, data=data, reading=Reading(str(tmp_path)))


@pytest.fixture(scope='module')
def own(tmp_path_factory):
  """(a run on a user's pictures, folder with other pictures of the classes)."""
  folder = tmp_path_factory.mktemp('own')
  tiny_dataset.prepare_own(folder / 'data')
  tiny_dataset.prepare_own(folder / 'other', seed=3)
  tiny_dataset.prepare_own(folder / 'renamed', ('dog', 'cat'))
  return _train(folder / 'run', Reading(str(folder / 'data')), train_steps=10,
                data=schema.Data(name='own')), folder


def test_the_data_are_where_the_run_found_them(own, monkeypatch, tmp_path):
  run, folder = own
  assert description.read(run)['data_dir'] == str(folder / 'data')
  monkeypatch.chdir(tmp_path)
  _assert_equal_two(_evaluate(run), _record(run, 10))
  with pytest.raises(UserError, match='other data .classes: cat, dog -> dog'):
    _evaluate(run, reading=Reading(str(folder / 'renamed')))
  (folder / 'data').rename(folder / 'gone')
  try:
    with pytest.raises(UserError, match='is not prepared|does not exist'):
      _evaluate(run)
  finally:
    (folder / 'gone').rename(folder / 'data')


def _assert_equal_two(found, expected):
  """As _assert_same, of two classes."""
  assert 'top5_accuracy' not in found
  assert found['examples'] == expected['examples'] == 11
  assert found['accuracy'] == pytest.approx(expected['accuracy'])
  assert found['loss'] == pytest.approx(expected['loss'], rel=1e-5)


def test_a_relative_data_dir_is_recorded_whole(monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  assert Reading('data').folder == str(tmp_path / 'data')
  assert Reading().folder is None


@pytest.mark.slow
def test_bad_pictures_are_counted(tmp_path):
  tiny_dataset.prepare_photos(tmp_path, bad=('0/12.jpg', '1/5.jpg'))
  config = dict(data=schema.Data('photos', eval_split='test', image_size=32),
                train_steps=1, global_batch=8)
  reading = Reading(str(tmp_path), skip_bad_images=True)
  run = _train(tmp_path / 'run', reading, **config)
  with pytest.raises(UserError, match='is not a picture that can be decoded'):
    _evaluate(run, split='train', details=True)
  folder = run / 'eval_photos_train_step1'
  assert not list(folder.iterdir())
  plain, deep = (_evaluate(run, split='train', reading=reading,
                                     details=details)
                 for details in (False, True))
  assert (plain['examples'], plain['skipped_images']) == (22, 2)
  assert (deep['examples'], deep['skipped_images']) == (22, 2)
  assert deep['accuracy'] == pytest.approx(plain['accuracy'])
  assert deep['loss'] == pytest.approx(plain['loss'], rel=1e-5)
  index = {int(row['index']) for row in _rows(folder / 'predictions.csv')}
  assert len(index) == 22 and len(deep['details']['skipped_examples']) == 2
  assert index | set(deep['details']['skipped_examples']) == set(range(24))


def _made(tmp_path, predicted=(0, 1, 0)):
  """Returns what in_depth.write takes, of three made examples."""
  names, count = ['a', 'b'], len(predicted)
  label = np.array([0, 1, 1])[:count]
  examples = Examples(
      np.arange(count), label, np.array(predicted), np.full(count, .9),
      np.full(count, .1), label == predicted, np.ones(count, bool),
      np.array([], np.int64), {}, None)
  source = sources.InMemory(tf.zeros([count, 8, 8, 1], tf.uint8),
                            tf.constant(label, tf.int32), 2)
  in_depth.prepare(tmp_path)
  return tmp_path, examples, names, source, {
      'details': figures.of(examples, names)}


def _contents(folder):
  return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize('fails_at', range(9))
def test_a_full_disk_leaves_no_half_evaluation(tmp_path, monkeypatch, fails_at):
  """Every file there is whole, and metrics.json is there only if all are."""
  in_depth.write(*_made(tmp_path))
  before = _contents(tmp_path)
  assert sorted(before) == _FILES
  write, count = atomic_file.write, 0

  def fail(path, *args, **kwargs):
    nonlocal count
    if count == fails_at:
      raise OSError(errno.ENOSPC, 'No space left on device')
    count += 1
    write(path, *args, **kwargs)

  monkeypatch.setattr(atomic_file, 'write', fail)
  with pytest.raises(UserError, match='cannot be written .No space left'):
    in_depth.write(*_made(tmp_path))
  del before['metrics.json']
  assert _contents(tmp_path) == before


def test_files_of_others_are_left_and_stale_ones_are_not(tmp_path):
  (tmp_path / 'notes.txt').write_text('mine')
  (tmp_path / 'confused.png').write_text('of an earlier evaluation')
  made = _made(tmp_path, (0, 1))
  written = in_depth.write(*made)
  assert sorted(_contents(tmp_path)) == sorted([*written, 'notes.txt'])
  assert 'confused.png' not in written
  lines = screen.text({**made[-1], 'written': written, 'folder': 'x'})
  assert 'worst classes none: all examples are predicted right' in lines
  assert 'most confused none' in lines


def test_a_folder_that_cannot_be_written_is_named_before_the_pass(
    run_folder, tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match='file/x cannot be written'):
    _evaluate(run_folder, details=True, output=tmp_path / 'file/x')


def test_logits_that_are_not_numbers():
  source = sources.InMemory(tf.zeros([3, 8, 8, 1], tf.uint8),
                            tf.constant([0, 1, 1]), 2)
  broken = lambda images: np.where(
      np.arange(len(images))[:, np.newaxis] == 1, np.nan, 0) * np.ones([1, 2])
  with pytest.raises(UserError, match='example 1 logits that are not finite'):
    examples_lib.look_at(source, broken, 3, 'softmax')


def test_own_metrics_are_means_over_the_examples():
  source = sources.InMemory(tf.zeros([5, 8, 8, 1], tf.uint8),
                            tf.constant([0, 1, 1, 0, 1]), 2)
  found = examples_lib.look_at(
      source, lambda images: np.zeros([len(images), 2], np.float32), 2,
      'softmax', metrics={'label': lambda labels, logits: labels})
  assert examples_lib.sums(found, 2) == {
      'loss': pytest.approx(np.log(2)), 'accuracy': 2 / 5, 'label': 3 / 5,
      'examples': 5}


@pytest.mark.slow
def test_the_program_prints_a_screen(run_folder):
  flags = (f'--workdir={run_folder}', '--checkpoint=best')
  plain = processes.run('resnet.evaluate', *flags)
  assert (plain.code, plain.err) == (0, '')
  line, = plain.out.splitlines()
  assert line.startswith('step ') and line.endswith('360 examples counted')
  deep = processes.run('resnet.evaluate', *flags, '--fit_temperature', '--flip',
                       '--average_checkpoints=1')
  assert (deep.code, deep.err) == (0, '')
  first, *rest = deep.out.splitlines()
  assert ', mirror images averaged, on digits test: accuracy 0.' in first
  assert [row[:13].strip() for row in rest if row[:13].strip()] == [
      'classes', 'calibration', 'temperature', 'worst classes',
      'most confused', 'written']
  assert len(rest) <= 15
  folder, = run_folder.glob('eval_digits_test_step*_flip')
  assert (folder / 'metrics.json').exists()


@pytest.mark.parametrize('steps, flip, words', [
    ([30], None, 'step 30 on digits test: accuracy 0.5000, loss 1.0000, margin '
     '0.2500, 8 examples counted'),
    ([10, 20], True, 'mean of steps 10, 20, mirror images averaged, on digits'),
    ([30], False, 'step 30, no mirror images, on digits test: accuracy')])
def test_the_line(steps, flip, words):
  assert screen.line({
      'loss': 1.0, 'accuracy': .5, 'margin': .25, 'examples': 8, 'data':
      'digits', 'split': 'test', 'step': steps[-1], 'checkpoints': steps,
      'details': {}, 'folder': 'x', 'written': []}, flip).startswith(words)
