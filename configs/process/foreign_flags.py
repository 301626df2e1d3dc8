"""What flags of other training programs are called here.

People who come from timm, Keras scripts, Model Garden or torchvision type them
by habit.
"""
from collections.abc import Container

from configs.process import near_names

# Names are in lower case, with _ for -.
_OURS = {
    'config': ('c', 'cfg', 'config_file', 'config_path', 'experiment',
               'recipe'),
    'config.schedule.peak': (
        'lr', 'learning_rate', 'base_lr', 'base_learning_rate', 'lr_base',
        'initial_learning_rate'),
    'config.schedule.end': ('min_lr', 'end_lr', 'lr_min', 'end_learning_rate'),
    'config.schedule.name': (
        'sched', 'scheduler', 'schedule', 'lr_schedule', 'lr_scheduler'),
    'config.schedule.warmup_epochs': (
        'warmup', 'warmup_epochs', 'lr_warmup_epochs', 'warmup_steps'),
    'config.schedule.drops_at': (
        'lr_step_size', 'decay_epochs', 'decay_milestones', 'milestones'),
    'config.schedule.drop_factors': (
        'decay_rate', 'lr_gamma', 'gamma', 'lr_decay'),
    'config.train_epochs': (
        'epochs', 'num_epochs', 'max_epochs', 'n_epochs', 'train_epochs'),
    'config.train_steps': (
        'steps', 'max_steps', 'num_steps', 'total_steps', 'train_steps'),
    'config.global_batch': (
        'batch_size', 'batch', 'b', 'bs', 'train_batch_size', 'global_batch',
        'global_batch_size'),
    'config.eval_batch': ('eval_batch_size', 'validation_batch_size',
                          'val_batch_size'),
    'config.model.depth': ('depth', 'resnet_depth', 'resnet_size'),
    'config.model.name': (
        'a', 'model', 'arch', 'network', 'model_name', 'model_type'),
    'config.model.version': ('resnet_version',),
    'config.model.dropout': ('drop', 'dropout', 'dropout_rate'),
    'config.model.stochastic_depth': ('drop_path', 'drop_block'),
    'config.model.sync_batch_norm': ('sync_bn', 'sync_batchnorm'),
    'config.model.batch_norm_momentum': ('bn_momentum',),
    'config.model.batch_norm_epsilon': ('bn_eps', 'bn_epsilon'),
    'config.model.zero_init_last_gamma': ('zero_gamma', 'zero_init_residual'),
    'config.optimizer.name': ('opt', 'optimizer'),
    'config.optimizer.momentum': ('momentum',),
    'config.optimizer.nesterov': ('nesterov',),
    'config.optimizer.epsilon': ('opt_eps', 'eps', 'epsilon'),
    'config.optimizer.weight_decay': ('weight_decay', 'wd', 'l2'),
    'config.optimizer.clip': (
        'clip_grad', 'clip_grad_norm', 'clip_mode', 'gradient_clip',
        'max_grad_norm'),
    'config.optimizer.accumulate': (
        'grad_accum', 'grad_accum_steps', 'accumulation_steps',
        'gradient_accumulation_steps'),
    'config.data.name': ('dataset', 'dataset_name'),
    'config.data.name=synthetic': (
        'use_synthetic_data', 'synthetic', 'synthetic_data', 'fake_data',
        'dummy'),
    'config.data.train_split': ('train_split',),
    'config.data.eval_split': ('val_split', 'eval_split', 'validation_split'),
    'config.data.image_size': (
        'img_size', 'image_size', 'input_size', 'train_crop_size'),
    'config.data.eval_size': ('val_crop_size', 'val_img_size'),
    'config.data.eval_crop': ('crop_pct',),
    'config.data.interpolation': ('interpolation', 'train_interpolation'),
    'config.data.mean': ('mean',),
    'config.data.stddev': ('std', 'stddev'),
    'config.label_smoothing': ('label_smoothing', 'smoothing'),
    'config.augment.mixup': ('mixup', 'mixup_alpha'),
    'config.augment.cutmix': ('cutmix', 'cutmix_alpha'),
    'config.augment.mix_probability': ('mixup_prob',),
    'config.augment.policy': (
        'aa', 'auto_augment', 'randaugment', 'rand_augment'),
    'config.augment.erasing': ('reprob', 'random_erase'),
    'config.augment.brightness': ('color_jitter',),
    'config.augment.flip': ('hflip', 'horizontal_flip'),
    'config.augment.vertical_flip': ('vflip',),
    'config.augment.smallest_crop': ('scale',),
    'config.augment.crop_ratio': ('ratio',),
    'config.augment.repeats': ('aug_repeats', 'ra_reps', 'ra_sampler'),
    'config.ema.decay': ('model_ema', 'model_ema_decay', 'ema_decay', 'ema',
                         'moving_average_decay'),
    'config.loss=sigmoid': ('bce_loss',),
    'config.monitor.metric': ('eval_metric',),
    'config.monitor.stop_evals': (
        'patience', 'early_stop', 'early_stopping', 'patience_epochs'),
    'config.precision': ('amp', 'dtype', 'amp_dtype', 'mixed_precision'),
    'config.precision=float16': ('fp16', 'half', 'float16'),
    'config.precision=bfloat16': ('bf16', 'bfloat16', 'use_bfloat16'),
    'config.seed': ('seed', 'random_seed', 's'),
    'data_dir': ('data', 'data_path', 'dataset_dir', 'tfds_data_dir'),
    'workdir': (
        'output', 'output_dir', 'out', 'out_dir', 'model_dir', 'log_dir',
        'logdir', 'save_dir', 'checkpoint_dir', 'train_dir', 'run_dir',
        'tensorboard_dir', 'o'),
    'init_from': ('pretrained', 'weights', 'initial_checkpoint', 'finetune',
                  'init_checkpoint', 'pretrained_path'),
    'devices': ('gpus', 'gpu', 'num_gpus', 'device', 'gpu_ids'),
    'strategy': ('distribution_strategy', 'distributed'),
    'strategy=multi_worker_mirrored': ('multi_worker',),
    'worker_addresses': ('worker_hosts', 'dist_url', 'master_addr',
                         'coordinator_address'),
    'worker_rank': ('task_index', 'rank', 'local_rank', 'node_rank',
                    'process_id'),
    'collectives': ('all_reduce_alg', 'dist_backend'),
    'jit': ('xla', 'enable_xla', 'use_xla', 'compile', 'jit_compile',
            'torchcompile', 'torchscript'),
    'deterministic': ('use_deterministic_algorithms', 'enable_op_determinism'),
    'steps_per_call': ('steps_per_loop', 'steps_per_execution',
                       'iterations_per_loop'),
    'log_every_steps': ('log_interval', 'log_steps', 'log_freq', 'print_freq',
                        'summary_interval', 'p'),
    'eval_every_epochs': ('eval_interval', 'eval_freq', 'val_interval',
                          'epochs_between_evals', 'validation_freq'),
    'save_every_steps': ('checkpoint_interval', 'save_freq', 'save_interval',
                         'save_steps'),
    'keep_last': ('checkpoint_hist', 'max_to_keep', 'save_total_limit',
                  'keep'),
    'log_to=wandb': ('log_wandb', 'wandb', 'use_wandb'),
    'log_to=mlflow': ('mlflow', 'log_mlflow'),
    'profile_steps': ('profile', 'profiler', 'profile_batch'),
    'checkpoint': ('ckpt', 'step'),
    'top': ('topk', 'top_k', 'k'),
}
_NAMES = {name: ours for ours, names in _OURS.items() for name in names}

# Flags without a counterpart here, by what the trainer does instead.
_REMARKS = {
    'rerun the same command to continue a run': (
        'resume', 'r', 'auto_resume', 'resume_from', 'resume_checkpoint',
        'continue'),
    'the number of classes is that of the data': (
        'num_classes', 'n_classes', 'classes', 'nb_classes'),
    'the input chooses its number of threads itself': (
        'workers', 'j', 'num_workers', 'n_workers', 'prefetch'),
    'python -m resnet.evaluate evaluates a run': (
        'e', 'evaluate', 'test_only', 'eval_only', 'mode'),
    'TensorBoard events are always written': (
        'tensorboard', 'enable_tensorboard', 'report_to'),
    'python -m launch.local, launch.slurm and launch.kubernetes start several '
    'workers': ('world_size', 'nnodes', 'nproc_per_node', 'num_nodes'),
    'override single fields, as in --config.model.depth=56': (
        'params_override', 'override', 'set', 'opts'),
}
_REMARK_OF = {name: text for text, names in _REMARKS.items() for name in names}


def ours(name: str, defined: Container[str]) -> str | None:
  """Returns the name of our flag for another program's; None if not known.

  Args:
    name: without dashes.
    defined: names of the flags that this program has.
  """
  name = name.replace('-', '_').lower()
  if name in defined:
    return name
  found = _NAMES.get(name)
  top = found and found.partition('=')[0].partition('.')[0]
  return found if top and top in defined else None


def near(name: str, defined: Container[str]) -> str | None:
  """As `ours`, also for names that are misspelt."""
  found = ours(name, defined)
  for alike in near_names.find(name, _NAMES):
    found = found or ours(alike, defined)
  return found


def remark(name: str, defined: Container[str]) -> str | None:
  """Returns what replaces a flag of other trainers that ours has no flag for.

  Args:
    name: without dashes.
    defined: names of the flags that this program has.
  """
  if 'config' not in defined or 'workdir' not in defined:  # No trainer.
    return None
  return _REMARK_OF.get(name.replace('-', '_').lower())
