"""The model, the update on the devices, the training loop, and the binaries."""
from configs import host_memory
from configs import quiet

host_memory.keep_freed()  # Before TensorFlow has threads.
with quiet.tensorflow_import():
  import tensorflow  # pylint: disable=unused-import
