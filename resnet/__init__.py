"""The model, the update on the devices, the training loop, and the binaries."""
from configs import host_memory
from configs import quiet
from configs import xla_cache

host_memory.keep_freed()  # Before TensorFlow has threads.
xla_cache.use()
with quiet.tensorflow_import():
  import tensorflow  # pylint: disable=unused-import
