"""The model, the update on the devices, the training loop, and the binaries."""
from configs.process import host_memory
from configs.process import quiet
from configs.process import xla_cache

host_memory.keep_freed()  # Before TensorFlow has threads.
xla_cache.use()
with quiet.tensorflow_import():
  import tensorflow  # pylint: disable=unused-import
