"""ResNet-18 from random weights on one's own pictures, if there are few.

Few pictures need many passes, small batches, and augmentation that leaves most
of each picture in view: crops of at least a third of it, mirror images, label
smoothing. The mean and deviation of the pixels are measured. The command that
`python -m pipelines.prepare --image_folder=PICTURES` prints gives image_size,
global_batch and train_epochs that fit the pictures; with weights, fine-tune
instead: finetune_resnet50.
Measured: 98.3 % of 60 held-out pictures after 113 CPU-seconds, and 100 % and
98.3 % with other pictures, with the command as printed for 300 synthetic
photographs of 3 classes (tests/synthetic_photographs.py; 64 pixels, batch 16,
30 epochs; on 2 cores of an AMD EPYC shared with other programs, 2026-11-29).
Alone on them, 300 others took 70 s and reached 96.7 %.

  python -m resnet.train --config=pictures_resnet18 \\
      --config.data.name=PICTURES_NAME --data_dir=DIR --workdir=RUN
"""
from configs import schema


def get_config() -> schema.Config:
  return schema.Config(
      model=schema.Model(family='imagenet', depth=18, version='v1.5', width=64,
                         stem='imagenet', shortcut='B',
                         zero_init_last_gamma=True),
      data=schema.Data(name='pictures', train_split='train',
                       eval_split='validation', image_size=224),
      augment=schema.Augment(flip=True, smallest_crop=0.35),
      optimizer=schema.Optimizer(name='sgd', momentum=0.9, nesterov=True,
                                 weight_decay=5e-4),
      schedule=schema.Schedule(name='cosine', peak=0.1, peak_batch=64,
                               warmup_epochs=5),
      label_smoothing=0.1, global_batch=32, eval_batch=100, train_epochs=100)
