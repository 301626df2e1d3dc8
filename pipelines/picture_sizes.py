"""Measures how large a user's own pictures are, from the headers of some."""
import os

from PIL import Image

from pipelines.image_tree import Tree

_MOST = 1000  # Pictures whose headers are read: a second.


def shorter_sides(tree: Tree, max_side: int | None = None) -> list[int]:
  """Returns the shorter sides of an evenly spaced sample, in pixels, sorted.

  Args:
    tree: the pictures. Those that cannot be read are left out.
    max_side: of the longer sides, if larger pictures are to be reduced.
  """
  files = [file for pairs in tree.splits.values() for file, _ in pairs]
  sides = []
  for file in files[::-(-len(files) // _MOST)]:
    try:
      with Image.open(os.path.join(tree.folder, file)) as picture:
        short, long = sorted(picture.size)
    except Exception:  # Damaged or foreign: Pillow raises anything.
      continue
    if max_side and long > max_side:
      short = round(short * max_side / long)
    sides.append(short)
  return sorted(sides)
