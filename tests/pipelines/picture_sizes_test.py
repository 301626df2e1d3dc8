"""Sizes of pictures are read from their headers."""
import os

from PIL import Image
import pytest

from pipelines import image_tree, picture_sizes
from tests import synthetic_photographs


def _tree(root, sizes):
  """Writes pictures of these (width, height) and scans them."""
  for number, size in enumerate(sizes):
    path = root / f'{"ab"[number % 2]}/{number}.png'
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', size).save(path)
  return image_tree.scan(root)


@pytest.mark.parametrize('max_side, sides', [
    (None, [8, 30, 40, 50]), (1000, [8, 30, 40, 50]),
    (64, [8, 19, 32, 40])])  # 30 * 64 / 100 = 19.2; 50 * 64 / 100.
def test_shorter_sides(tmp_path, max_side, sides):
  tree = _tree(tmp_path, [(8, 8), (100, 30), (40, 60), (50, 100)])
  assert picture_sizes.shorter_sides(tree, max_side) == sides


def test_what_cannot_be_read_is_left_out(tmp_path):
  (tmp_path / 'a').mkdir()
  (tmp_path / 'a/bad.png').write_bytes(b'no picture')
  (tmp_path / 'a/gone.png').symlink_to('/nowhere.png')
  tree = _tree(tmp_path, [(8, 9), (10, 11)])
  assert picture_sizes.shorter_sides(tree) == [8, 10]


def test_a_sample_of_many_is_read(monkeypatch):
  read = []

  def note(path):
    read.append(os.path.basename(path))
    return Image.new('L', (5, 5))

  monkeypatch.setattr(Image, 'open', note)
  for total, most in ((999, 999), (1000, 1000), (1001, 501), (100_000, 1000)):
    read.clear()
    tree = image_tree.Tree('in', ['a', 'b'], {
        'train': [(str(i), 0) for i in range(total - 1)], 'test': [('z', 1)]})
    assert len(picture_sizes.shorter_sides(tree)) == most == len(set(read))


def test_synthetic_photographs_have_the_sizes_asked_for(tmp_path):
  root = synthetic_photographs.write(
      tmp_path / 'in', 7, synthetic_photographs.CLASSES, sides=(20, 30))
  tree = image_tree.scan(root)
  assert tree.classes == sorted(synthetic_photographs.CLASSES)
  assert [sum(label == i for _, label in tree.splits['train'])
          for i in range(4)] == [2, 2, 1, 2]  # checks, rings, spots, stripes
  sides = picture_sizes.shorter_sides(tree)
  assert 20 <= min(sides) <= max(sides) <= 30
  # Fewer pictures are the same ones.
  fewer = synthetic_photographs.write(
      tmp_path / 'fewer', 2, ['rings', 'checks'], sides=(20, 30))
  assert (fewer / 'rings/0000.jpg').read_bytes() == (
      root / 'rings/0000.jpg').read_bytes()
