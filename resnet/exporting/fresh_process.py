"""Computes what an export makes of pictures, without this project.

Its text is what a fresh Python process runs, see comparison.py: nothing of the
project can be imported there, and nothing here may need it. The process reads
the path of a JSON object as its argument:

  format, path   the export
  paths          where packages are found
  blocked        names of packages that must not be imported
  pictures       .npz: 'picture<i>' uint8 [h, w, c], 'encoded<i>' uint8 [bytes]
  results        .npz to write: 'logits' and 'probabilities' float32 [n, k], of
                 a SavedModel also 'label', 'class' and 'encoded_<output>'
"""
import json
import sys
from typing import Any

_BATCH = 16


def main() -> None:
  """Writes the results of the job that the first argument names."""
  with open(sys.argv[1], encoding='utf-8') as file:
    job = json.load(file)
  sys.path[:] = job['paths']
  for name in job['blocked']:
    sys.modules[name] = None  # pyright: ignore[reportArgumentType]
  import numpy as np

  with np.load(job['pictures']) as archive:
    pictures = dict(archive)
  compute = {'saved_model': _saved_model, 'keras': _keras, 'onnx': _onnx,
             'litert': _litert}[job['format']]
  results = compute(job['path'], pictures)
  np.savez(job['results'], **results)  # pyright: ignore[reportArgumentType]


def _saved_model(path, pictures):
  import numpy as np
  import tensorflow as tf

  model = tf.saved_model.load(path)
  pixels, encoded = (
      model.signatures.get(name) for name in ('serving_default', 'encoded'))
  results = _in_batches(pictures, lambda images: {
      name: value.numpy()
      for name, value in pixels(images=tf.constant(images)).items()})
  files = _numbered(pictures, 'encoded')
  if files and encoded:
    found = [encoded(encoded=tf.constant(
        [file.tobytes() for file in files[start:start + _BATCH]]))
             for start in range(0, len(files), _BATCH)]
    for name in found[0]:
      parts = [part[name].numpy() for part in found]
      results[f'encoded_{name}'] = np.concatenate(parts)
  return {name: value.astype('S') if value.dtype == object else value
          for name, value in results.items()}


def _keras(path, pictures):
  import keras

  model: Any = keras.saving.load_model(path)
  return _in_batches(pictures, lambda images: {
      name: value.numpy() for name, value in model(images).items()})


def _onnx(path, pictures):
  import onnxruntime  # pyright: ignore[reportMissingImports]

  session = onnxruntime.InferenceSession(
      path, providers=['CPUExecutionProvider'])
  names = [output.name for output in session.get_outputs()]
  return _in_batches(pictures, lambda images: dict(zip(
      names, session.run(names, {'images': images}))))


def _litert(path, pictures):
  from ai_edge_litert import interpreter  # pyright: ignore[reportMissingImports]

  run = interpreter.Interpreter(path).get_signature_runner('serving_default')
  return _in_batches(pictures, lambda images: run(images=images))


def _numbered(pictures, name):
  return [pictures[f'{name}{i}'] for i in range(len(pictures))
          if f'{name}{i}' in pictures]


def _in_batches(pictures, compute):
  """Returns {name: results of all pictures}; a batch has pictures of one size.
  """
  import numpy as np

  images = _numbered(pictures, 'picture')
  by_shape = {}
  for number, image in enumerate(images):
    by_shape.setdefault(image.shape, []).append(number)
  results = {}
  for numbers in by_shape.values():
    for start in range(0, len(numbers), _BATCH):
      part = numbers[start:start + _BATCH]
      found = compute(np.stack([images[number] for number in part]))
      for name, values in found.items():
        results.setdefault(name, {}).update(zip(part, values))
  return {name: np.stack([values[number] for number in range(len(images))])
          for name, values in results.items()}


if __name__ == '__main__':
  main()
