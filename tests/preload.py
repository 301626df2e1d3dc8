"""What processes under test are forked from: TensorFlow, with no device touched."""
from configs.process import tensorflow_process

with tensorflow_process.starting():
  import resnet.evaluate  # noqa: F401
  import resnet.loop  # noqa: F401
  import resnet.train  # noqa: F401
