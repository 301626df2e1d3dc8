"""Predicts the classes of pictures with the network of a run.

Each file is read as `prepare --image_folder` reads it (upright, see
pipelines/picture_file.py), turned into pixels as evaluation does (see
pipelines/single_pictures.py), and passed through the function that evaluation
uses (see logits.py). So predicting a file gives the logits that evaluating it
would, after prepare, to the bit with the same batch on CPUs. The exception is
a data set that was prepared with --max_side, which a run does not know: its
pictures are stored smaller, and predicted as they are. All cores read and
decode while the devices compute.

With config.loss=softmax, probabilities are those of exactly one class and add
up to 1. With sigmoid, each is that of its class alone: any number of them may
be high, or none.

  trained = restored.restore('runs/pets', 'best')
  for prediction in predict_files(trained, ['cat.jpg', 'dog.png']):
    print(prediction.file, prediction.probabilities)
"""
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
import os
import re
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from configs.process.errors import first_line, UserError
from pipelines import picture_file
from pipelines.picture_file import Unusable
from pipelines.single_pictures import Preprocessing
from resnet.distribution import out_of_memory
from resnet.inference import reading_ahead
from resnet.inference.logits import Logits
from resnet.inference.restored import Restored

BATCH = 64
_NONE = np.zeros([0], np.float32)


class Prediction(NamedTuple):
  """What a network makes of a picture, or why there is none."""
  file: str | os.PathLike
  logits: np.ndarray = _NONE  # float32 [classes]
  probabilities: np.ndarray = _NONE  # float32 [classes]
  error: str = ''  # Part of a sentence; '': there is a prediction.


class Predictor:
  """Predicts with one network, as often as it is asked."""

  def __init__(self, restored: Restored,
               strategy: tf.distribute.Strategy | None = None, *,
               jit: str = 'auto', batch: int = BATCH):
    """Makes a predictor; nothing is computed yet.

    Args:
      restored: the network.
      strategy: the devices, those of `restored`; None: TensorFlow's default.
      jit: 'true', 'false' or 'auto'.
      batch: images that all devices share at a time; fewer if there are fewer.
    """
    self.classes = restored.classes
    self._preprocessing = Preprocessing.of(
        restored.config.data, restored.image_shape)
    self._restored, self._jit, self._most = restored, jit, batch
    self._strategy = strategy or tf.distribute.get_strategy()
    self._functions: dict[int, Logits] = {}
    self._decode = _on_host(self._preprocessing.encoded, tf.TensorSpec(
        [], tf.string))
    self._resize = _on_host(self._preprocessing.pixels, tf.TensorSpec(
        [None, None, restored.image_shape[-1]], tf.uint8))

  def files(self, files: Iterable[str | os.PathLike],
            keep_orientation: bool = False) -> Iterator[Prediction]:
    """Predicts picture files.

    Args:
      files: paths.
      keep_orientation: whether to take pictures as they are stored, even if
        their EXIF says that they are not upright.

    Yields:
      One prediction for each file, in their order.

    Raises:
      UserError: the network takes no pictures, or too much memory.
    """
    def read(file):
      encoded = read_encoded(file, keep_orientation)
      if isinstance(encoded, Unusable):
        return encoded
      try:
        return self._decode(tf.constant(encoded)).numpy()
      except tf.errors.OpError as error:
        return Unusable(_reason(error))

    self._decode.get_concrete_function()  # Raises before anything is read.
    batch = self._batch(len(files) if isinstance(files, Sized) else self._most)
    return predict(files, read, lambda images: self._compute(
        np.stack(images), batch), batch)

  def images(self, images: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
    """Predicts images in memory: upright, of any size.

    Args:
      images: uint8 [n, h, w, c], or n arrays of [h, w, c] or [h, w]. Gray ones
        are repeated, and colors averaged by their brightness, where the network
        needs it; alpha is dropped.

    Returns:
      float32 [n, classes], probabilities.

    Raises:
      UserError: they are something else.
    """
    batch, parts = self._batch(len(images)), []
    channels = self._preprocessing.shape[-1]
    for start in range(0, len(images), batch):
      pixels = np.stack([
          self._resize(_with_channels(image, channels)).numpy()
          for image in images[start:start + batch]])
      parts.append(self._compute(pixels, batch)[1])
    return np.concatenate(
        [np.zeros([0, len(self.classes)], np.float32), *parts])

  def _batch(self, count):
    """Returns how many images to compute at a time: a power of 2, or the most.

    Each size has a function of its own, which takes seconds to make.
    """
    return min(self._most, 1 << max(count - 1, 0).bit_length())

  def _compute(self, images, batch):
    """Returns (logits, probabilities), float32 [n, classes] each."""
    if batch not in self._functions:
      self._functions[batch] = Logits(
          self._restored.config, self._restored.model, self._restored.state,
          self._strategy, jit=self._jit, batch=batch)
    function = self._functions[batch]
    with out_of_memory.explained(
        '--batch', batch, -(-batch // self._strategy.num_replicas_in_sync)):
      logits = function(images)
    return logits, probabilities_of(logits, self._restored.config.loss)


def predict_files(restored: Restored, files: Iterable[str | os.PathLike],
                  strategy: tf.distribute.Strategy | None = None, *,
                  jit: str = 'auto', batch: int = BATCH,
                  keep_orientation: bool = False) -> Iterator[Prediction]:
  """Predicts picture files once; see Predictor."""
  return Predictor(restored, strategy, jit=jit, batch=batch).files(
      files, keep_orientation)


def predict_images(restored: Restored,
                   images: np.ndarray | Sequence[np.ndarray],
                   strategy: tf.distribute.Strategy | None = None, *,
                   jit: str = 'auto', batch: int = BATCH) -> np.ndarray:
  """Predicts images in memory once; see Predictor."""
  return Predictor(restored, strategy, jit=jit, batch=batch).images(images)


def predict(files: Iterable[str | os.PathLike],
            read: Callable[[Any], Any],
            compute: Callable[[list], tuple[np.ndarray, np.ndarray]],
            batch: int) -> Iterator[Prediction]:
  """Reads files on all cores, and computes batches of those that can be read.

  Args:
    files: paths.
    read: file -> what `compute` takes of it, or Unusable; called by threads.
    compute: list of up to `batch` of these -> (logits, probabilities).
    batch: how many are computed at a time.

  Yields:
    One prediction for each file, in their order.
  """
  def results(waiting):
    good = [content for _, content in waiting
            if not isinstance(content, Unusable)]
    rows = zip(*compute(good)) if good else iter(())
    for file, content in waiting:
      if isinstance(content, Unusable):
        yield Prediction(file, error=content.reason)
      else:
        yield Prediction(file, *next(rows))

  waiting, count = [], 0
  for file, content in reading_ahead.in_order(files, read, 2 * batch):
    waiting.append((file, content))
    count += not isinstance(content, Unusable)
    if count in (0, batch):  # 0: all of them are bad.
      yield from results(waiting)
      waiting, count = [], 0
  yield from results(waiting)


def read_encoded(file: str | os.PathLike,
                 keep_orientation: bool = False) -> bytes | Unusable:
  """Returns the bytes of a picture as prepare stores it."""
  if '\0' in os.fsdecode(file):
    return Unusable('no file has such a name')
  picture = picture_file.read(file, keep_orientation=keep_orientation)
  return picture if isinstance(picture, Unusable) else picture.encoded


def probabilities_of(logits: np.ndarray, loss: str) -> np.ndarray:
  """Turns logits into probabilities.

  Args:
    logits: float32 [n, classes].
    loss: config.loss, 'softmax' or 'sigmoid'.

  Returns:
    float32 [n, classes].
  """
  if loss == 'sigmoid':
    return np.exp(-np.logaddexp(np.float32(0), -logits))
  powers = np.exp(logits - logits.max(1, keepdims=True))
  return powers / powers.sum(1, keepdims=True)


def _on_host(function, spec):
  """Compiles a function for the CPU, where evaluation decodes, too."""
  def on_host(value):
    with tf.device('CPU:0'):
      return function(value)

  return tf.function(on_host, input_signature=[spec], autograph=False)


def _reason(error):
  text = re.sub(r'\{\{.*?\}\} ?', '', first_line(error))
  return text.partition(' [Op:')[0]


def _with_channels(image, channels):
  """Returns uint8 [h, w, channels]."""
  image = np.asarray(image)
  if image.ndim == 2:
    image = image[..., np.newaxis]
  known = {channels, 1, 3, 4} if channels in (1, 3) else {channels}
  if (image.dtype != np.uint8 or image.ndim != 3 or not image.size
      or image.shape[-1] not in known):
    raise UserError(
        f'An image is {image.dtype} {list(image.shape)}, but the network takes '
        'uint8 [height, width, channels] with '
        f'{" or ".join(map(str, sorted(known)))} channels: convert it, for '
        "example with `numpy.asarray(picture.convert('RGB'))`.")
  if image.shape[-1] == channels:
    return image
  image = image[..., :3]
  if channels == 1:
    return tf.image.rgb_to_grayscale(image).numpy()
  return np.repeat(image, channels, 2) if image.shape[-1] == 1 else image
