"""From disk to a batch: sources, order, augmentation. Knows no model."""
from configs import host_memory
from configs import quiet

host_memory.keep_freed()  # Before TensorFlow has threads.
with quiet.tensorflow_import():
  import tensorflow  # pylint: disable=unused-import
