"""Which group of TensorBoard's charts a figure belongs to.

The figures are named as in metrics.jsonl. Both splits of a run have the same
tags, so that they share their charts.
"""
QUALITY, OPTIMIZER, SPEED, SYSTEM = 'quality', 'optimizer', 'speed', 'system'

# In the order in which TensorBoard's first page shows them. What is not here is
# a metric of the recipe.
GROUPS = {
    QUALITY: ('loss', 'accuracy', 'top5_accuracy', 'examples',
              'skipped_images'),
    OPTIMIZER: ('learning_rate', 'gradient_norm', 'weight_norm', 'update_ratio',
                'loss_scale', 'ema_decay', 'ema_distance', 'epoch',
                'recoveries', 'positions'),
    SPEED: ('images_per_second', 'images_per_second_device',
            'step_milliseconds', 'step_milliseconds_median',
            'step_milliseconds_p99', 'input_wait_fraction',
            'checkpoint_fraction', 'evaluation_fraction', 'flops_per_second',
            'flops_utilization'),
    SYSTEM: ('host_memory_gib', 'device_memory_gib', 'device_memory_peak_gib',
             'compilations', 'compile_secs'),
}
PART_RATES = 'learning_rate_'  # What the names of the rates by part begin with.

_GROUP_OF = {name: group for group, names in GROUPS.items() for name in names}


def tag(name: str) -> str:
  """Returns the tag of a figure, 'quality/loss' for 'loss'."""
  return f'{_group(name)}/{name}'


def is_of_machine(name: str) -> bool:
  """Returns whether a figure depends on the clock or the machine.

  The others are the same bits in every repetition of a run.
  """
  return name == 'time' or _group(name) in (SPEED, SYSTEM)


def is_ours(name: str) -> bool:
  """Returns whether a name is taken: no metric of a recipe may have it."""
  return name in _GROUP_OF or name.startswith(PART_RATES)


def _group(name):
  if name.startswith(PART_RATES):
    return OPTIMIZER
  return _GROUP_OF.get(name, QUALITY)
