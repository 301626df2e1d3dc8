"""`python -m resnet.predict`: what it prints and writes, and what it refuses.
"""
import csv
import io
import json
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest

from configs import schema
from configs.process import streams
from resnet.inference import prediction_report, predictions, restored
from tests import processes, synthetic_photographs
from tests.resnet import restorable_runs

_ROOT = pathlib.Path(__file__).parents[2]
_CLASSES = ('a cat, black', 'dog "Rex"', 'Größe', '4')


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """The folder of a run on photographs; it has one checkpoint."""
  config = schema.Config(
      model=schema.Model(depth=8, width=4),
      data=schema.Data('gone', image_size=24), train_steps=7)
  return restorable_runs.write(
      tmp_path_factory.mktemp('runs') / 'run', config,
      restorable_runs.record(_CLASSES, (24, 24, 3)))


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
  """A folder of 12 JPEGs in folders."""
  return synthetic_photographs.write(
      tmp_path_factory.mktemp('in') / 'photos', 12, sides=(40, 60))


def _predict(*flags):
  return processes.run('resnet.predict', *map(str, flags))


def _rows(text):
  """Returns the header and the rows of a CSV."""
  header, *rows = csv.reader(io.StringIO(text))
  return header, rows


def _expected(run, files):
  found = predictions.predict_files(restored.restore(run), files, batch=16)
  return [prediction.probabilities for prediction in found]


def test_csv_has_a_row_for_each_picture(run, photos):
  result = _predict(f'--workdir={run}', '--top=3', photos)
  files = sorted(map(str, photos.rglob('*.jpg')))
  assert result.code == 0 and len(files) == 12
  header, rows = _rows(result.out)
  assert header == ['file', 'class_1', 'probability_1', 'class_2',
                    'probability_2', 'class_3', 'probability_3']
  assert [row[0] for row in rows] == files
  for row, expected in zip(rows, _expected(run, files)):
    order = sorted(range(4), key=lambda label: -expected[label])[:3]
    assert row[1::2] == [_CLASSES[label] for label in order]
    np.testing.assert_array_equal(np.float32(row[2::2]), expected[order])
  summary, = result.err.splitlines()
  assert summary.startswith('Predicted 12 pictures in ')
  assert summary.endswith(f' images/s) with {run}, step 7.')


@pytest.mark.slow
@pytest.mark.parametrize('flags', [
    ('--virtual_devices=2',), ('--batch=5',), ('--strategy=one_device',),
    ('--checkpoint=7', '--jit=true')])
def test_devices_and_batches_change_nothing_but_rounding(run, photos, flags):
  result = _predict(f'--workdir={run}', '--format=jsonl', *flags, photos)
  assert result.code == 0
  files = sorted(map(str, photos.rglob('*.jpg')))
  for line, expected in zip(
      result.out.splitlines(), _expected(run, files), strict=True):
    found = {row['class']: row['probability']
             for row in json.loads(line)['predictions']}
    np.testing.assert_allclose(
        [found[name] for name in _CLASSES], expected, rtol=1e-3, atol=1e-6)


_NAMES = ['comma, "quoted".jpg', 'line\nbreak.jpg', 'caf\udce9.jpg', '-x.jpg',
          'é.jpg', ' .jpg']


def test_odd_names(run, photos, tmp_path):
  content = (photos / 'rings' / '0000.jpg').read_bytes()
  for name in _NAMES:
    with open(os.path.join(tmp_path, name), 'wb') as file:
      file.write(content)
  files = [os.path.join(tmp_path, name) for name in _NAMES] * 2
  output = tmp_path / 'out.jsonl'
  result = _predict(f'--workdir={run}', '--top=99', '--format=jsonl',
                    f'--output={output}', '--', *files)
  assert (result.code, result.out) == (0, '')
  lines = [json.loads(line) for line in output.read_text().split('\n')[:-1]]
  assert [line['file'] for line in lines] == files  # Twice, too.
  for line in lines:
    assert line['predictions'] == lines[0]['predictions']
    found = {p['class']: p['probability'] for p in line['predictions']}
    assert found.keys() == set(_CLASSES)
    assert sum(found.values()) == pytest.approx(1)
  result = _predict(f'--workdir={run}', '--top=1', f'--output={output}',
                    '--', *files)
  assert result.code == 0
  _, rows = _rows(output.read_bytes().decode())
  assert [row[0] for row in rows] == [
      name.replace('\udce9', '\\udce9') for name in files]


def test_pictures_that_cannot_be_used_are_named_and_counted(
    run, photos, tmp_path):
  good = sorted(photos.rglob('*.jpg'))[0]
  (tmp_path / 'cut.jpg').write_bytes(good.read_bytes()[:-400])
  (tmp_path / 'text.png').write_text('a cat')
  os.mkfifo(tmp_path / 'pipe.gif')
  (tmp_path / 'none').mkdir()
  (tmp_path / 'a.heic').touch()
  output, sheet = tmp_path / 'out.csv', tmp_path / 'out.png'
  result = _predict(f'--workdir={run}', good, tmp_path, '/no/where.jpg',
                    tmp_path / 'none', f'--output={output}')
  assert (result.code, result.out) == (0, '')
  *warnings, summary = result.err.splitlines()
  names = [f'there are no pictures (.jpg, .jpeg, .png, .bmp, .gif, .webp) in '
           f'{tmp_path}/none.',
           f'ignoring 1 file in folders, such as {tmp_path}/a.heic: only .jpg',
           *(f'{tmp_path}/{name} cannot be used (' for name in (
               'cut.jpg', 'pipe.gif', 'text.png')),
           '/no/where.jpg cannot be used (No such file or directory).']
  assert len(warnings) == len(names)
  for line, name in zip(warnings, names):
    assert line.startswith(f'warning: {name}')
  assert summary.startswith('Predicted 1 of 5 pictures in ')
  assert [row[0] for row in _rows(output.read_text())[1]] == [str(good)]
  # Without one that can be used, there is no result.
  before = output.read_text()
  result = _predict(f'--workdir={run}', tmp_path, f'--output={output}',
                    f'--contact_sheet={sheet}')
  assert result.code == 2
  assert result.err.splitlines()[-1] == (
      'error: None of 3 pictures can be used, for the reasons above: give '
      'JPEG, PNG, GIF, BMP or WebP files that can be read.')
  assert output.read_text() == before and not sheet.exists()
  assert sorted(path.name for path in tmp_path.iterdir()) == [
      'a.heic', 'cut.jpg', 'none', 'out.csv', 'pipe.gif', 'text.png']


def test_a_contact_sheet(run, photos, tmp_path):
  sheet = tmp_path / 'sheet.png'
  result = _predict(f'--workdir={run}', photos, f'--contact_sheet={sheet}')
  assert result.code == 0
  image = np.asarray(Image.open(sheet))
  # 12 pictures of 128 pixels in rows of 8, with two lines below each.
  assert image.shape == (2 * (128 + 2 * 16 + 4) + 4, 8 * (128 + 4) + 4, 3)
  first = Image.open(sorted(photos.rglob('*.jpg'))[0])
  side = min(first.size)
  left, top = (first.width - side) // 2, (first.height - side) // 2
  middle = first.crop((left, top, left + side, top + side)).resize(
      (128, 128), Image.Resampling.BILINEAR)
  error = np.abs(image[4:132, 4:132].astype(int) - np.asarray(middle))
  assert error.mean() < 4
  assert image[133:165, 4:132].min() < 100  # The caption.
  assert (image[168:296, 532:] == 255).all()  # No picture.


@pytest.mark.parametrize('flags, words', [
    (['x.jpg', '--output={}/no/out.csv'], 'because there is no folder {}/no: '),
    (['x.jpg', '--output={}'], '--output={} is a folder: give a file.'),
    (['x.jpg', '--contact_sheet={}/no/a.png'], '--contact_sheet={}/no/a.png '
     'cannot be written, because there is no folder'),
    (['{}'], 'There are no pictures (.jpg, .jpeg, .png, .bmp, .gif, .webp) in '
     '{}: give a folder that has some, or name the files.'),
    (['-'], '- reads the paths of pictures from stdin, one a line, but there'),
    (['x.jpg', '--checkpoint=8'], 'choose one of 7'),
    (['x.jpg', '--checkpoint=best'], 'finds no evaluated checkpoint'),
    (['x.jpg', '--strategy=multi_worker_mirrored'], 'is for training')])
def test_refused(run, tmp_path, flags, words):
  result = _predict(f'--workdir={run}', *(f.format(tmp_path) for f in flags))
  assert (result.code, result.out) == (2, '')
  line, = result.err.splitlines()
  assert line.startswith('error: ') and words.format(tmp_path) in line
  assert not list(tmp_path.iterdir())


def test_a_run_without_a_checkpoint(run, photos, tmp_path):
  for name in ('config.json', 'data.json'):
    (tmp_path / name).write_text((run / name).read_text())
  result = _predict(f'--workdir={tmp_path}', photos)
  assert result.code == 2 and 'There is no checkpoint in' in result.err
  result = _predict(f'--workdir={photos}', photos)
  assert result.code == 2 and 'is not a run folder' in result.err


@pytest.mark.parametrize('flag, words', [
    ('--output=/dev/full', '--output=/dev/full cannot be written (No space '),
    ('--contact_sheet=/dev/full', '--contact_sheet=/dev/full cannot be writ')])
def test_a_full_disk(run, photos, flag, words):
  result = _predict(f'--workdir={run}', photos, flag)
  assert result.code == 2
  assert words in result.err.splitlines()[-1]
  assert 'Traceback' not in result.err
  assert not pathlib.Path('/dev/full').is_file()  # It is still a device.


def _shell(run, *argv, stdin=b'', after=''):
  """Runs the program in a shell of its own; returns the finished process."""
  return subprocess.run(
      ['bash', '-c', f'set -o pipefail; "$@" {after}', '-', sys.executable,
       '-m', 'resnet.predict', f'--workdir={run}', *map(str, argv)],
      cwd=_ROOT, input=stdin, capture_output=True, check=False)


@pytest.mark.slow
def test_a_list_on_stdin(run, photos, tmp_path):
  files = sorted(photos.rglob('*.jpg'))
  odd = os.path.join(os.fsencode(tmp_path), b'caf\xe9.jpg')
  with open(odd, 'wb') as file:
    file.write(files[3].read_bytes())
  stdin = b'\n'.join([*map(os.fsencode, reversed(files)), odd])
  done = _shell(run, '-', '--top=1', stdin=stdin)
  assert done.returncode == 0
  _, rows = _rows(done.stdout.decode())
  assert [row[0] for row in rows] == [
      *map(str, reversed(files)), f'{tmp_path}/caf\\udce9.jpg']
  assert rows[-1][1:] == rows[-5][1:]


@pytest.mark.slow
def test_a_reader_that_leaves_ends_it_quietly(run, photos):
  files = sorted(photos.rglob('*.jpg')) * 300
  done = _shell(run, '-', stdin=b'\n'.join(map(os.fsencode, files)),
                after='| head -n 2')
  assert done.returncode == 128 + signal.SIGPIPE
  assert len(done.stdout.splitlines()) == 2
  assert done.stderr == b''


def test_nothing_is_computed_that_nobody_reads(monkeypatch, capsys):
  asked = []

  def many():
    for _ in range(10_000):
      asked.append(len(asked))
      yield predictions.Prediction('x', np.float32([1, 2]), np.float32([0, 1]))

  monkeypatch.setattr(streams, 'lost', lambda: len(asked) > 100 or None)
  report = prediction_report.Report(['a', 'b'], 'csv', 2)
  report.write(many())
  assert 100 < len(asked) < 200
  assert capsys.readouterr().out.count('x,b,1.0,a,0.0\n') == len(asked)


def test_a_kill_leaves_no_half_file(tmp_path):
  path = tmp_path / 'out.csv'
  path.write_text('before')

  def killed():
    yield predictions.Prediction('x', np.float32([1, 2]), np.float32([0, 1]))
    raise KeyboardInterrupt

  report = prediction_report.Report(['a', 'b'], 'csv', 2, path)
  with pytest.raises(KeyboardInterrupt):
    report.write(killed())
  assert [(p, p.read_text()) for p in tmp_path.iterdir()] == [(path, 'before')]
