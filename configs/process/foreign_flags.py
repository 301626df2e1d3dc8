"""What flags of other training programs are called here.

People who come from timm, Keras scripts, Model Garden or torchvision type them
by habit.
"""
from collections.abc import Container

_OURS = {
    'config.schedule.peak': (
        'lr', 'learning_rate', 'base_lr', 'base_learning_rate', 'lr_base'),
    'config.train_epochs': ('epochs', 'num_epochs', 'max_epochs', 'n_epochs'),
    'config.train_steps': ('steps', 'max_steps', 'num_steps', 'total_steps'),
    'config.global_batch': (
        'batch_size', 'batch', 'b', 'bs', 'train_batch_size', 'global_batch'),
    'config.eval_batch': ('eval_batch_size', 'validation_batch_size',
                          'val_batch_size'),
    'config.model.depth': ('depth', 'resnet_depth', 'resnet_size'),
    'config.model.name': ('model', 'arch', 'model_name', 'model_type'),
    'config.optimizer.name': ('opt', 'optimizer'),
    'config.optimizer.momentum': ('momentum',),
    'config.optimizer.weight_decay': ('weight_decay', 'wd'),
    'config.optimizer.accumulate': (
        'grad_accum', 'grad_accum_steps', 'accumulation_steps'),
    'config.schedule.name': ('sched', 'schedule', 'lr_schedule',
                             'lr_scheduler'),
    'config.schedule.warmup_epochs': ('warmup_epochs', 'lr_warmup_epochs'),
    'config.data.name': ('dataset', 'dataset_name'),
    'config.data.image_size': ('img_size', 'image_size', 'input_size',
                               'train_crop_size'),
    'config.label_smoothing': ('label_smoothing', 'smoothing'),
    'config.augment.mixup': ('mixup', 'mixup_alpha'),
    'config.augment.cutmix': ('cutmix', 'cutmix_alpha'),
    'config.augment.policy': ('aa', 'auto_augment'),
    'config.augment.erasing': ('reprob', 'random_erase'),
    'config.ema.decay': ('model_ema', 'model_ema_decay', 'ema_decay'),
    'config.model.dropout': ('drop', 'dropout'),
    'config.precision': ('amp', 'fp16', 'bf16', 'dtype', 'mixed_precision'),
    'config.seed': ('seed', 'random_seed'),
    'data_dir': ('data', 'data_path', 'dataset_dir'),
    'workdir': ('output', 'output_dir', 'out', 'model_dir', 'log_dir', 'logdir',
                'save_dir', 'checkpoint_dir', 'train_dir'),
    'init_from': ('pretrained', 'weights', 'initial_checkpoint', 'finetune',
                  'init_checkpoint'),
    'devices': ('gpus', 'gpu', 'num_gpus', 'device'),
    'strategy': ('distribution_strategy', 'distributed'),
    'jit': ('xla', 'enable_xla', 'use_xla', 'compile', 'jit_compile'),
    'checkpoint': ('ckpt', 'step'),
    'top': ('topk', 'top_k', 'k'),
}
_NAMES = {name: ours for ours, names in _OURS.items() for name in names}


def ours(name: str, defined: Container[str]) -> str | None:
  """Returns the name of our flag for another program's; None if not known.

  Args:
    name: without dashes.
    defined: names of the flags that this program has.
  """
  found = _NAMES.get(name.replace('-', '_'))
  top = found and found.partition('.')[0]
  return found if top and top in defined else None
