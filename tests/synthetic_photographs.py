"""Folders of JPEGs that a network can learn to tell apart, but not at a glance.

Each picture shows a soft-edged patch with a pattern: checks, rings, stripes or
spots. Everything else is random and says nothing about the class: size, colors,
contrast, width and direction of the pattern, place and extent of the patch,
background, light, noise, quality. The mean color of pictures of all classes has
the same distribution. Picture n of a class is the same for the same seed,
however many there are.

  root = synthetic_photographs.write(tmp_path / 'Patterns', 300)
"""
from collections.abc import Sequence
import pathlib
import zlib

import numpy as np
from PIL import Image

CLASSES = 'checks', 'rings', 'stripes', 'spots'


def write(root: pathlib.Path, count: int, classes: Sequence[str] = CLASSES[:3],
          sides: tuple[int, int] = (100, 400), seed: int = 0) -> pathlib.Path:
  """Writes root/<class>/<number>.jpg.

  Args:
    root: the folder to write them in.
    count: pictures of all classes together; the first classes have one more if
      it is not divisible.
    classes: some of CLASSES.
    sides: the smallest and the largest height and width, in pixels.
    seed: other pictures for each.

  Returns:
    root.
  """
  for index, kind in enumerate(classes):
    folder = root / kind
    folder.mkdir(parents=True)
    for number in range(len(range(index, count, len(classes)))):
      rng = np.random.default_rng([seed, zlib.crc32(kind.encode()), number])
      height, width = rng.integers(sides[0], sides[1] + 1, 2)
      Image.fromarray(picture(kind, rng, int(height), int(width))).save(
          folder / f'{number:04}.jpg', quality=int(rng.integers(60, 96)))
  return root


def picture(kind: str, rng: np.random.Generator, height: int,
            width: int) -> np.ndarray:
  """Returns a picture, uint8 [height, width, 3].

  Args:
    kind: one of CLASSES.
    rng: draws all that is random.
    height: in pixels.
    width: in pixels.
  """
  short = min(height, width)
  y, x = np.mgrid[:height, :width].astype(np.float32) / short  # 1: short side.
  top, left = rng.uniform(0.4, 0.6, 2) * (height, width) / short
  angle, period = rng.uniform(0, np.pi), rng.uniform(0.16, 0.26)
  dark, light = rng.uniform(0, 90, 3), rng.uniform(165, 256, 3)
  wave = _pattern(kind, angle, period, y - top, x - left)[..., None]
  patch = dark + (light - dark) * (0.5 + 0.5 * np.tanh(4 * wave))
  radius = np.hypot((y - top) / rng.uniform(0.4, 0.7),
                    (x - left) / rng.uniform(0.4, 0.7))
  mask = 1 / (1 + np.exp((radius - 1) / 0.05))[..., None]
  coarse = rng.integers(70, 186, (3, 4, 3), dtype=np.uint8)
  behind = np.asarray(Image.fromarray(coarse).resize(
      (width, height), Image.Resampling.BICUBIC), np.float32)
  slope = rng.uniform(-0.3, 0.3, 2)
  shade = 1 + slope[0] * (y - top) + slope[1] * (x - left)
  noise = rng.normal(0, rng.uniform(2, 14), (height, width, 3))
  pixels = (behind + (patch - behind) * mask) * shade[..., None] + noise
  return np.clip(pixels, 0, 255).astype(np.uint8)


def _pattern(kind, angle, period, y, x):
  """Returns waves between -1 and 1, with a mean near 0, around (0, 0)."""
  across = 2 * np.pi / period * (x * np.cos(angle) + y * np.sin(angle))
  along = 2 * np.pi / period * (y * np.cos(angle) - x * np.sin(angle))
  if kind == 'checks':
    return np.sign(np.sin(across / 2)) * np.sign(np.sin(along / 2))
  if kind == 'rings':
    return np.sin(2 * np.pi / period * np.hypot(y, x))
  if kind == 'stripes':
    return np.sin(across)
  assert kind == 'spots', kind
  return 1.2 * (np.cos(across) + np.cos(along)) - 0.6
