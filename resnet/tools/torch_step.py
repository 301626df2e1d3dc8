"""Trains a residual network in PyTorch, a block of updates at a time.

Runs by itself, in a Python that needs nothing but torch; see torch_process.

The first line of stdin is a JSON object of settings; the answer is
{"version": PyTorch's, "weights": numbers that training changes}. Then each line
is a number of updates; the answer is [seconds, CPU-seconds] of this process.

Eager mode, channels last, SGD with momentum, in place where torchvision's
ResNets are, on one batch that never changes. malloc is set as for TensorFlow,
which makes it a little faster than it is by default.
"""
import json
import runpy
import sys
import time
from types import SimpleNamespace

import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional  # pyright: ignore[reportMissingImports]


class Subsample(nn.Module):
  """Shortcut A: every stride-th pixel, with channels of zeros appended."""

  def __init__(self, channels: int, stride: int):
    super().__init__()
    self.channels, self.stride = channels, stride

  def forward(self, x):
    """Returns [b, channels, ceil(h / stride), ceil(w / stride)]."""
    x = x[:, :, ::self.stride, ::self.stride]
    return functional.pad(x, (0, 0, 0, 0, 0, self.channels - x.shape[1]))


class Block(nn.Module):
  """A residual block; resnet/models/blocks.py has ours."""

  def __init__(self, settings: SimpleNamespace, channels: int, convs: list,
               is_first: bool, is_activated: bool):
    """Makes the layers.

    Args:
      settings: of the network.
      channels: of the input.
      convs: (filters, kernel, stride) of each convolution.
      is_first: whether it is the first block of its stage.
      is_activated: v2: whether the input went through batch norm and ReLU.
    """
    super().__init__()
    self.is_first, self.is_v2 = is_first, settings.version == 'v2'
    self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
    first, stride = channels, 1
    for index, (filters, kernel, conv_stride) in enumerate(convs):
      if self.is_v2 and index == 0 and is_activated:
        self.norms.append(nn.Identity())
      else:
        self.norms.append(_norm(settings, channels if self.is_v2 else filters))
      self.convs.append(_conv(channels, filters, kernel, conv_stride))
      channels, stride = filters, stride * conv_stride
    self.is_activated = is_activated
    self.shortcut = self._make_shortcut(settings, first, channels, stride)

  def _make_shortcut(self, settings, before, after, stride):
    """Returns what brings the input to the output's shape; None: no sum."""
    if settings.shortcut == 'none':
      return None
    if stride == 1 and before == after:
      return nn.Identity()
    if settings.shortcut == 'A':
      return Subsample(after, stride)
    conv = _conv(before, after, 1, stride)
    return conv if self.is_v2 else nn.Sequential(conv, _norm(settings, after))

  def forward(self, x):
    """Returns the block's output."""
    return self._forward_v2(x) if self.is_v2 else self._forward_v1(x)

  def _forward_v1(self, x):
    y = x
    for index, (conv, norm) in enumerate(zip(self.convs, self.norms)):
      y = norm(conv(y))
      if index < len(self.convs) - 1:
        y = functional.relu(y, inplace=True)
    if self.shortcut is not None:
      y += self.shortcut(x)
    return functional.relu(y, inplace=True)

  def _forward_v2(self, x):
    y = x
    for index, (conv, norm) in enumerate(zip(self.convs, self.norms)):
      if index or not self.is_activated:
        y = functional.relu(norm(y), inplace=True)
      if index == 0 and self.is_first:
        x = y
      y = conv(y)
    if self.shortcut is not None:
      y += self.shortcut(x)
    return y


def _norm(settings, channels):
  return nn.BatchNorm2d(channels, eps=settings.batch_norm_epsilon,
                        momentum=1 - settings.batch_norm_momentum)


def _conv(channels, filters, kernel, stride=1):
  return nn.Conv2d(
      channels, filters, kernel, stride, kernel // 2, bias=False)


def build(settings: SimpleNamespace) -> nn.Module:
  """Returns the network."""
  width = settings.width
  stem = _conv(settings.image_shape[-1], width, *(
      (7, 2) if settings.stem == 'imagenet' else (3, 1)))
  layers = [stem, _norm(settings, width), nn.ReLU(inplace=True)]
  if settings.stem == 'imagenet':
    layers.append(nn.MaxPool2d(3, 2, 1))
  channels, is_activated = width, True
  for blocks in settings.stages:
    for index, convs in enumerate(blocks):
      layers.append(Block(settings, channels, convs, index == 0, is_activated))
      channels, is_activated = convs[-1][0], False
  if settings.version == 'v2':
    layers += [_norm(settings, channels), nn.ReLU(inplace=True)]
  return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                       nn.Linear(channels, settings.classes))


class Trainer:
  """Updates of a network on one batch."""

  def __init__(self, settings: SimpleNamespace):
    torch.manual_seed(0)
    self.settings = settings
    self.model = build(settings).to(memory_format=torch.channels_last).train()
    self.optimizer = torch.optim.SGD(
        self.model.parameters(), settings.learning_rate, settings.momentum,
        nesterov=settings.nesterov)
    height, width, channels = settings.image_shape
    self.images = torch.randn(settings.batch, channels, height, width).to(
        memory_format=torch.channels_last)
    self.labels = torch.randint(settings.classes, (settings.batch,))

  def run(self, steps: int) -> None:
    """Makes this many updates."""
    for _ in range(steps):
      self.optimizer.zero_grad(set_to_none=True)
      with torch.autocast('cpu', torch.bfloat16,
                          enabled=self.settings.precision == 'bfloat16'):
        loss = functional.cross_entropy(self.model(self.images), self.labels)
      loss.backward()
      self.optimizer.step()


def main() -> None:
  """Answers the lines of stdin until it is closed."""
  settings = SimpleNamespace(**json.loads(sys.stdin.readline()))
  runpy.run_path(settings.host_memory)['keep_freed']()
  torch.set_num_threads(settings.threads)
  trainer = Trainer(settings)
  weights = sum(p.numel() for p in trainer.model.parameters())
  print(json.dumps({'version': torch.__version__, 'weights': weights}),
        flush=True)
  for line in sys.stdin:
    secs, cpu_secs = time.perf_counter(), time.process_time()
    trainer.run(int(line))
    print(json.dumps([time.perf_counter() - secs,
                      time.process_time() - cpu_secs]), flush=True)


if __name__ == '__main__':
  main()
