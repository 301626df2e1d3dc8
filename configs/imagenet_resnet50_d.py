"""ResNet-50-D on ImageNet, 200 epochs: He et al. 2018, arXiv:1812.01187.

The network of imagenet_resnet50 with three 3x3 convolutions in place of the 7x7
(C) and a mean before each projection (D), 25,576,264 weights, trained with the
paper's refinements: a cosine after 5 warm-up epochs, the last gamma of each
block at zero, no weight decay of biases and batch norm, label smoothing, mixup.
The paper also jitters colors and lighting, and reports 79.29 % with
distillation from a larger network. Hardware: meant for 8 GPUs of 16 GiB (128
images each). Time and top-1 accuracy: not measured here.

  python -m resnet.train --config=imagenet_resnet50_d --strategy=mirrored \\
      --config.precision=bfloat16
"""
from configs import imagenet_resnet50, schema


def get_config() -> schema.Config:
  config = imagenet_resnet50.get_config()
  config.model.stem = 'deep'
  config.model.shortcut = 'D'
  config.augment.mixup = 0.2
  config.label_smoothing = 0.1
  config.schedule = schema.Schedule(
      name='cosine', peak=config.schedule.peak, warmup_epochs=5)
  config.train_epochs = 200  # 120 without mixup, as in the paper.
  return config
