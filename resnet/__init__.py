"""The model, the update on the devices, the training loop, and the binaries."""
from configs import quiet

with quiet.tensorflow_import():
  import tensorflow  # pylint: disable=unused-import
