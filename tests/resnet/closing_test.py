"""The last lines of a run, and of one that was stopped."""
import pathlib

import pytest

from resnet.run.screen import closing

_FIGURES = {
    'step': 674, 'best_step': 391, 'accuracy': 0.9917, 'best_accuracy': 0.9944,
    'examples': 360, 'limit': 'compute-bound: 1.2% waiting; 41 GFLOP/s',
    'loss': 0.0432, 'best_loss': 0.0319,
    'images_per_second': 5345.4, 'seconds': 83.2, 'time_shares': {
        'training': 0.61, 'input_wait': 0.012, 'evaluation': 0.2,
        'checkpoints': 0.04, 'start_up': 0.15}}


def test_a_run_ends_with_a_table():
  assert closing.summary_text(_FIGURES, '/runs/a b').splitlines() == [
      '            step  accuracy    loss',
      'best         391    0.9944  0.0319',
      'last         674    0.9917  0.0432',
      'evaluated   360 examples counted',
      'speed       5345 images/s (median of the log points)',
      '            compute-bound: 1.2% waiting',
      '            41 GFLOP/s',
      'time        1:23: 61% training, 20% evaluation, 4% checkpoints, 15% '
      'start-up',
      'run folder  /runs/a b',
      "view with   tensorboard --logdir '/runs/a b'",
      "next        python -m resnet.evaluate --workdir='/runs/a b' "
      '--checkpoint=best',
      "            python -m resnet.predict --workdir='/runs/a b' PICTURES",
      "            python -m resnet.export --workdir='/runs/a b'"]


def test_a_run_of_an_earlier_version_ends_with_what_is_known():
  figures = {name: value for name, value in _FIGURES.items()
             if 'loss' not in name and name != 'limit'}
  head, best, *_ = closing.finished_text(
      {**figures, 'images_per_second': None}, '/runs/a').splitlines()[1:]
  assert (head.split(), best.split()) == (
      ['step', 'accuracy'], ['best', '391', '0.9944'])


def test_a_loss_that_was_infinite_is_left_out():
  figures = {name: value for name, value in _FIGURES.items() if name != 'loss'}
  last = closing.summary_text(figures, 'a').splitlines()[2]
  assert last.split() == ['last', '674', '0.9917', '-']


def test_the_last_accuracy_alone_is_colored():
  text = closing.summary_text({**_FIGURES, 'best_accuracy': 0.9917}, 'a', True)
  assert text.count('\x1b') == 2
  assert '\nlast         674    \x1b[1;32m0.9917\x1b[0m  0.0432\n' in text


@pytest.fixture
def save(tmp_path):
  (tmp_path / 'ckpt-7.index').write_bytes(bytes(1000))
  (tmp_path / 'ckpt-7.data-00000-of-00001').write_bytes(bytes(48 + 2**20))
  (tmp_path / 'ckpt-70.index').write_bytes(bytes(10**7))
  return closing.newest(tmp_path, [3, 7], 0.044)


def test_a_stop_says_what_was_saved_where_and_how_to_continue(save, tmp_path):
  assert closing.stop_text(7, save, 'SIGTERM', 1.26) == (
      f'Stopped at step 7: checkpoint ckpt-7 (1.0 MiB) saved in {tmp_path} in '
      '0.04 s, 1.3 s after SIGTERM. Rerun the same command to continue.')
  assert closing.stop_text(7, save._replace(secs=None)) == (
      f'Stopped at step 7: checkpoint ckpt-7 (1.0 MiB) is in {tmp_path}. Rerun '
      'the same command to continue.')
  assert closing.stop_text(7, None) == (
      'Stopped at step 7. Rerun the same command to continue.')


def test_a_stop_before_the_first_step_claims_no_save():
  assert closing.newest(pathlib.Path('folder'), [], 0.1) is None
  assert closing.stop_text(0, None, 'SIGTERM', 1.0) == (
      'Stopped before the first step. Rerun the same command to start.')


@pytest.mark.parametrize('size, text', [
    (0, '0 B'), (1023, '1023 B'), (1024, '1.0 KiB'), (3 * 2**19, '1.5 MiB'),
    (5 * 2**30, '5.0 GiB'), (2**42, '4096.0 GiB')])
def test_sizes(size, text, tmp_path):
  with (tmp_path / 'ckpt-1.data').open('wb') as file:
    file.truncate(size)
  assert closing._size(closing.Save(1, tmp_path)) == text
