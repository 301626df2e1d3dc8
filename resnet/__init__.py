"""The model, the update on the devices, the training loop, and the binaries."""
from configs import quiet
from resnet import host_memory

host_memory.keep_freed()  # Before TensorFlow has threads.
with quiet.tensorflow_import():
  import tensorflow  # pylint: disable=unused-import
