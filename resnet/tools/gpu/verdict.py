"""What limits training on this machine, from what the parts have found.

A step takes the time of its slowest side: the input makes batches while the
devices compute, and on the devices forward-backward, update, sum and what the
host leaves idle follow one another.
"""
from collections.abc import Sequence

from configs import schema
from resnet.run.measures import limit
from resnet.tools.gpu import findings
from resnet.tools.gpu.findings import Finding

# NVIDIA's TensorFlow ResNet-50 v1.5 on A100, mixed precision and XLA; images a
# second by GPUs.
PUBLISHED = {1: 2375, 8: 17400}
_PUBLISHED_BY = 'NVIDIA, TensorFlow, ResNet-50 v1.5 on A100, AMP + XLA'


def of(found: Sequence[Finding], config: schema.Config,
       first_batch: int) -> list[Finding]:
  """Returns the verdict and the comparison with published figures.

  Args:
    found: all findings of all parts.
    config: what was measured.
    first_batch: images per device and step.
  """
  return [_limit(found, config, first_batch),
          *_beside_published(found, config)]


def _limit(found, config, batch):
  """Returns the finding that names what limits the largest run."""
  loops = findings.select(found, measure='loop', processes=1)
  if not loops:
    return Finding('training is bound by', None,
                   note='the training loop was not measured')
  largest = max(loops, key=lambda loop: loop.of['devices'])
  devices, waited = (largest.of[name] for name in (
      'devices', 'input_wait_fraction'))
  sides = _milliseconds(found, config, batch, devices)
  on_devices = {name: value for name, value in sides.items()
                if name != 'input' and value is not None}
  if waited > limit.WAIT:
    bound = 'input'
  elif len(on_devices) == len(sides) - 1:
    bound = max(on_devices, key=on_devices.__getitem__)
  else:
    bound = None
  told = ', '.join(
      f'{name} {findings.NOT_MEASURED}' if value is None
      else f'{name} {value:.2f} ms' for name, value in sides.items())
  rates = limit.rates([largest.of])
  rate = f', {limit.rate_text(**rates)}' if rates else ''
  return Finding(
      'training is bound by', bound, note=f'{devices} device'
      f'{"s" * (devices > 1)}, {told}, '
      f'{waited:.1%} of the time waiting for input{rate}', of={
          'measure': 'verdict', 'devices': devices, 'bound': bound,
          'input_wait_fraction': waited, **rates, **sides})


def _milliseconds(found, config, batch, devices) -> dict[str, float | None]:
  """Returns {side: milliseconds of a step}; None: not measured."""
  def part(name, count):
    return _value(findings.select(
        found, measure=name, precision=config.precision, batch=batch,
        devices=count))

  forward_backward, update = part('forward-backward', 1), part('update', 1)
  compute = (None if forward_backward is None or update is None
             else forward_backward + update)
  cap = _value(findings.select(found, measure='input', all_cores=True))
  sides: dict[str, float | None] = {
      'input': 1000 * batch * devices / cap if cap else None,
      'compute': compute, 'host': part('host gap', devices)}
  if devices > 1:
    sides['collective'] = part('sum over devices', devices)
  return sides


def _beside_published(found, config):
  """Returns our speeds of the training loop beside those of NVIDIA."""
  model, rows = config.model, []
  is_same = (model.name == 'resnet' and model.family == 'imagenet'
             and model.depth == 50 and model.width == 64
             and config.data.image_size == 224)
  for devices, published in PUBLISHED.items():
    name = f'training loop beside {published:,} images/s, {devices} A100'
    loops = findings.select(found, measure='loop', processes=1,
                            devices=devices)
    if findings.select(found, measure='devices', kind='CPU'):
      rows.append(Finding(name, None, note='the CPU was measured'))
    elif not is_same:
      rows.append(Finding(name, None, note='another network or image size'))
    elif not loops:
      rows.append(Finding(name, None, note=f'no run on {devices} devices'))
    else:
      speed = _value(loops)
      assert speed is not None
      rows.append(Finding(
          name, speed, 'images/s', f'{speed / published:.3f} of it; '
          f'{_PUBLISHED_BY}', {'measure': 'published', 'devices': devices,
                               'ratio': speed / published}))
  return rows


def _value(found) -> float | None:
  return float(found[0].value) if found else None
