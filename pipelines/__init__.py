"""From disk to a batch: sources, order, augmentation. Knows no model."""
from configs import quiet

with quiet.tensorflow_import():
  import tensorflow  # pylint: disable=unused-import
