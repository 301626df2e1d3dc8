"""The bar fits every width, and shows all figures from 80 columns on."""
import pytest

from resnet.run.screen import bar

_SMALL = bar.Shown(480, 674, 21.375, 0.1234, 0.9812, 1234.4, 83)
# The last steps of ImageNet.
_LARGE = bar.Shown(450_000, 450_360, 89.93, 1.9876, 0.7654, 12_345.6, 45_296)


@pytest.mark.parametrize('shown, columns, text', [
    # 480 of 674 is 71 %: 7 of 10 cells, 24 of 34.
    (_SMALL, 80, '480/674  [======>...]  epoch 21.4  loss 0.123  acc 0.981  '
     '1234 img/s  1:23 left'),
    (_SMALL, 120, f'step 480/674  [{"=" * 23}>{"." * 10}]  epoch 21.38  loss '
     '0.1234  accuracy 0.9812  1234 images/s  1:23 left'),
    (_LARGE, 80, '450000/450360  epoch 89.9  loss 1.988  acc 0.765  '
     '12346 img/s  12:34:56 left'),
    (_SMALL, 40, '480/674  loss 0.123  1:23 left'),
    (_LARGE, 40, '450000/450360  12:34:56 left')])
def test_what_fits_is_shown(shown, columns, text):
  assert bar.text(shown, columns) == text


@pytest.mark.parametrize('shown', [
    _SMALL, _LARGE, _LARGE._replace(step=1, secs_left=None),
    _SMALL._replace(loss=123456.7, images_per_second=3.456),
    _SMALL._replace(secs_left=10**7), _SMALL._replace(step=0),
    _SMALL._replace(step=674)])
def test_no_width_is_exceeded(shown):
  for columns in range(20, 300):
    text = bar.text(shown, columns)
    assert len(text) < columns and f'{shown.step}/{shown.total}' in text
    if columns >= 80 and shown.loss < 1000:
      assert all(word in text for word in ('epoch', 'loss', 'acc', 'im', 'left')
                 ), text
    assert len(bar.status(10**6, 10**6, 'evaluating...', columns)) < columns


def test_nothing_moves_when_a_number_gets_another_digit():
  """Within a layout, all figures end where they ended before."""
  texts = [bar.text(_SMALL._replace(step=step, secs_left=left), 120)
           for step, left in ((1, 599), (99, 598), (674, 0))]
  assert len({text.index(']') for text in texts}) == 1
  assert len({text.index('images/s') for text in texts}) == 1


@pytest.mark.parametrize('step, cells', [
    (0, '........'), (1, '........'), (3, '=>......'), (9, '======>.'),
    (10, '========')])
def test_the_drawn_part(step, cells):
  shown = _SMALL._replace(step=step, total=10)
  columns = 1 + len('10/10  [........]  epoch 21.4  loss 0.123  acc 0.981  '
                    '1234 img/s  1:23 left')
  assert f'[{cells}]' in bar.text(shown, columns)


def test_a_slow_network_shows_more_digits():
  assert [bar.speed(value) for value in (3.456, 34.56, 99.95, 345.6)] == [
      '3.46', '34.6', '100', '346']
