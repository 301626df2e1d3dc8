"""ResNet-50 v1.5, fine-tuned from weights on one's own pictures.

As Kornblith et al. 2018 (arXiv:1805.08974) fine-tune networks: all layers
train, with Nesterov momentum 0.9, a cosine, random crops and mirror images. The
rate is a tenth of that from scratch (Girshick et al. 2013, arXiv:1311.2524,
section 2.3), 0.01 for each 256 images of the global batch, after one epoch of
warm-up: the gradients of a new classifier would distort what the layers below
have learned (Kumar et al. 2022, arXiv:2202.10054). Weights bring the mean and
deviation of their input along. For few pictures, freeze the first parts
(--config.finetune.frozen=stem,stage1,stage2) or let them learn more slowly
(--config.finetune.layer_decay=0.8).
Hardware: meant for one GPU of 8 GiB. Time and accuracy: not measured here.

  python -m pipelines.prepare --image_folder=PICTURES --data_dir=DIR
  python -m resnet.train --config=finetune_resnet50 --data_dir=DIR \\
      --init_from=WEIGHTS --workdir=RUN
  python -m resnet.predict --workdir=RUN NEW_PICTURES
  python -m resnet.export --workdir=RUN --format=saved_model

WEIGHTS is a file, of torchvision's resnet50 for example, or the folder of a
run. For those of keras.applications' ResNet50, add --config.model.version=v1
and --config.model.batch_norm_epsilon=1.001e-5.
"""
from configs import schema


def get_config() -> schema.Config:
  return schema.Config(
      model=schema.Model(family='imagenet', depth=50, version='v1.5', width=64,
                         stem='imagenet', shortcut='B'),
      data=schema.Data(name='pictures', train_split='train',
                       eval_split='validation', image_size=224),
      augment=schema.Augment(flip=True, smallest_crop=0.35),
      optimizer=schema.Optimizer(name='sgd', momentum=0.9, nesterov=True,
                                 weight_decay=1e-4),
      schedule=schema.Schedule(name='cosine', peak=0.01, peak_batch=256,
                               warmup_epochs=1),
      global_batch=32, eval_batch=100, train_epochs=30)
