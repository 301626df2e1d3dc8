"""From disk to a batch: sources, order, augmentation. Knows no model."""
from configs.process import host_memory
from configs.process import quiet

host_memory.keep_freed()  # Before TensorFlow has threads.
with quiet.tensorflow_import():
  import tensorflow  # pylint: disable=unused-import
