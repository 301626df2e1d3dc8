"""ResNet-50 v1.5 from random weights on one's own pictures, 100 epochs.

The recipe of pictures_resnet18 with the larger network (23.5 M weights and a
classifier), for some ten thousand pictures and a GPU. Hardware: meant for one
GPU of 8 GiB. Time and accuracy: not measured here.

  python -m resnet.train --config=pictures_resnet50 \\
      --config.data.name=PICTURES_NAME --data_dir=DIR --workdir=RUN
"""
from configs import pictures_resnet18, schema


def get_config() -> schema.Config:
  config = pictures_resnet18.get_config()
  config.model.depth = 50
  config.global_batch = 64
  return config
