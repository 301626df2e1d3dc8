"""ResNets as torchvision and timm define them, written down in NumPy alone.

  state = random_state(rng, (2, 2, 2, 2), bottleneck=False)
  logits = forward(state, images)

Names and shapes of the state are those of their state dicts; images are float
[b, c, h, w].
"""
import numpy as np


def random_state(rng, counts, bottleneck, width=8, inner=1, groups=1,
                 deep=False, pools=False, reduction=0, classes=5):
  """Returns a state dict with random weights and statistics.

  Args:
    rng: of NumPy.
    counts: blocks of each stage.
    bottleneck: kind of block.
    width: of the first stage; 64 there.
    inner: times the channels of the 3x3 convolution of bottlenecks.
    groups: of that convolution.
    deep: whether the stem has three 3x3 convolutions.
    pools: whether an average precedes strided projections.
    reduction: of squeeze-and-excitation; 0: none.
    classes: of the classifier.
  """
  state = {}

  def conv(name, channels, filters, size, groups=1):
    shape = (filters, channels // groups, size, size)
    state[f'{name}.weight'] = rng.normal(size=shape) * (
        2 / np.prod(shape[1:])) ** 0.5

  def norm(name, channels):
    state[f'{name}.weight'] = rng.uniform(0.5, 1.5, channels)
    state[f'{name}.bias'] = rng.normal(size=channels) * 0.3
    state[f'{name}.running_mean'] = rng.normal(size=channels) * 0.3
    state[f'{name}.running_var'] = rng.uniform(0.5, 1.5, channels)
    state[f'{name}.num_batches_tracked'] = np.array(7)

  if deep:
    half = width // 2
    conv('conv1.0', 3, half, 3)
    norm('conv1.1', half)
    conv('conv1.3', half, half, 3)
    norm('conv1.4', half)
    conv('conv1.6', half, width, 3)
  else:
    conv('conv1', 3, width, 7)
  norm('bn1', width)
  channels = width
  for stage, count in enumerate(counts, 1):
    planes = width * 2 ** (stage - 1)
    out, mid = (4 * planes, inner * planes) if bottleneck else (planes, planes)
    for index in range(count):
      name = f'layer{stage}.{index}'
      sizes = [(channels, mid, 1, 1), (mid, mid, 3, groups), (mid, out, 1, 1)
               ] if bottleneck else [(channels, mid, 3, 1), (mid, out, 3, 1)]
      for i, (given, filters, size, parts) in enumerate(sizes, 1):
        conv(f'{name}.conv{i}', given, filters, size, parts)
        norm(f'{name}.bn{i}', filters)
      if reduction:
        conv(f'{name}.se.fc1', out, out // reduction, 1)
        conv(f'{name}.se.fc2', out // reduction, out, 1)
        state[f'{name}.se.fc1.bias'] = rng.normal(size=out // reduction)
        state[f'{name}.se.fc2.bias'] = rng.normal(size=out)
      if index == 0 and (stage > 1 or channels != out):
        conv(f'{name}.downsample.{int(pools)}', channels, out, 1)
        norm(f'{name}.downsample.{int(pools) + 1}', out)
      channels = out
  state['fc.weight'] = rng.normal(size=(classes, channels)) * 0.1
  state['fc.bias'] = rng.normal(size=classes)
  return {name: value.astype(np.float32 if value.ndim else np.int64)
          for name, value in state.items()}


def forward(state, x):
  """Returns the logits [b, classes] of images float [b, c, h, w]."""
  state = {name: value.astype(np.float64) for name, value in state.items()}
  if 'conv1.0.weight' in state:
    x = _relu(_norm(state, 'conv1.1', _conv(state, 'conv1.0', x, 2)))
    x = _relu(_norm(state, 'conv1.4', _conv(state, 'conv1.3', x)))
    x = _conv(state, 'conv1.6', x)
  else:
    x = _conv(state, 'conv1', x, 2)
  x = _relu(_norm(state, 'bn1', x))
  x = _windows(x, 3, 2, 1, -np.inf).max((-1, -2))
  stage = 1
  while f'layer{stage}.0.conv1.weight' in state:
    index = 0
    while f'layer{stage}.{index}.conv1.weight' in state:
      x = _block(state, f'layer{stage}.{index}', x,
                 2 if stage > 1 and index == 0 else 1)
      index += 1
    stage += 1
  return x.mean((2, 3)) @ state['fc.weight'].T + state['fc.bias']


def _block(state, name, x, stride):
  last = 3 if f'{name}.conv3.weight' in state else 2
  y = x
  for i in range(1, last + 1):
    strided = i == last - 1  # A bottleneck's 3x3, or the first 3x3.
    y = _conv(state, f'{name}.conv{i}', y, stride if strided else 1)
    y = _norm(state, f'{name}.bn{i}', y)
    y = _relu(y) if i < last else y
  if f'{name}.se.fc1.weight' in state:
    s = _relu(_conv(state, f'{name}.se.fc1', y.mean((2, 3), keepdims=True)))
    y = y / (1 + np.exp(-_conv(state, f'{name}.se.fc2', s)))
  if f'{name}.downsample.2.weight' in state:
    if stride > 1:  # At the border, the mean of what is inside.
      x = np.pad(x, [(0, 0), (0, 0)] + [(0, side % 2) for side in x.shape[2:]],
                 constant_values=np.nan)
      x = np.nanmean(_windows(x, 2, 2, 0, 0), (-1, -2))
    x = _norm(state, f'{name}.downsample.2',
              _conv(state, f'{name}.downsample.1', x))
  elif f'{name}.downsample.0.weight' in state:
    x = _norm(state, f'{name}.downsample.1',
              _conv(state, f'{name}.downsample.0', x, stride))
  return _relu(x + y)


def _windows(x, size, stride, padding, fill):
  """Returns the windows of a padded image, [b, c, h', w', size, size]."""
  x = np.pad(x, [(0, 0), (0, 0), (padding, padding), (padding, padding)],
             constant_values=fill)
  return np.lib.stride_tricks.sliding_window_view(
      x, (size, size), (2, 3))[:, :, ::stride, ::stride]


def _conv(state, name, x, stride=1):
  kernel = state[f'{name}.weight']
  filters, per_group, size = kernel.shape[:3]
  windows = _windows(x, size, stride, size // 2, 0)
  groups = x.shape[1] // per_group
  b, _, h, w = windows.shape[:4]
  y = np.einsum(
      'bgchwij,gfcij->bgfhw',
      windows.reshape(b, groups, per_group, h, w, size, size),
      kernel.reshape(groups, filters // groups, per_group, size, size),
      optimize=True).reshape(b, filters, h, w)
  bias = state.get(f'{name}.bias')
  return y if bias is None else y + bias[:, None, None]


def _norm(state, name, x):
  weight, bias, mean, variance = (
      state[f'{name}.{part}'][:, None, None]
      for part in ('weight', 'bias', 'running_mean', 'running_var'))
  return (x - mean) / np.sqrt(variance + 1e-5) * weight + bias


def _relu(x):
  return np.maximum(x, 0)
