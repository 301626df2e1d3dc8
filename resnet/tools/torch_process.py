"""A process that trains the network of a config in PyTorch, for comparison.

It waits until it is told to make updates, so that it takes no CPU time from
other measurements.
"""
from collections.abc import Mapping, Sequence
import contextlib
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

from configs import schema
from configs.process import host_memory
from configs.process.errors import UserError
from resnet.models import blocks, variants
from resnet.tools.rounds import Cost

_PROGRAM = pathlib.Path(__file__).with_name('torch_step.py')


def why_not(config: schema.Config, devices: Sequence[str],
            python: pathlib.Path | None) -> str:
  """Returns why PyTorch cannot be compared; '' if it can.

  Args:
    config: what is trained.
    devices: of the strategy.
    python: the interpreter that was asked for; None: this one.
  """
  if len(devices) > 1 or 'CPU' not in devices[0]:
    return 'only on one CPU device'
  if config.model.name != 'resnet':
    return 'only for config.model.name=resnet'
  if config.model.sync_batch_norm:
    return 'only for config.model.sync_batch_norm=False'
  if config.model.stem == 'deep' or config.model.shortcut == 'D':
    return 'only without config.model.stem=deep and config.model.shortcut=D'
  plain = schema.Model()
  for name in ('inner_width', 'groups', 'squeeze_excite', 'blur_pool',
               'stochastic_depth', 'dropout'):
    if getattr(config.model, name) != getattr(plain, name):
      return f'only for config.model.{name}={getattr(plain, name)}'
  if config.precision == 'float16':
    return 'only for config.precision=float32 or bfloat16'
  if not python and not importlib.util.find_spec('torch'):
    return 'not installed here; --torch_python=PATH names a Python that has it'
  return ''


def settings(config: schema.Config, image_shape: tuple[int, ...],
             num_classes: int, threads: int) -> dict[str, Any]:
  """Returns what torch_step builds and trains.

  Args:
    config: what is trained; its network is a resnet.
    image_shape: (h, w, c).
    num_classes: length of the logits.
    threads: that share one operation.

  Returns:
    {name: value}; `stages` has (filters, kernel, stride) of each convolution of
    each block of each stage.
  """
  model = config.model
  counts, block = variants.stages(model.family, model.depth, model.block)
  stages = []
  for stage, count in enumerate(counts):
    convs = blocks.convolutions(block, model.version, model.width * 2**stage)
    stages.append([
        [(conv.filters, conv.kernel,
          2 if conv.strided and stage and not index else 1) for conv in convs]
        for index in range(count)])
  return {
      'stages': stages, 'stem': model.stem, 'width': model.width,
      'version': model.version, 'shortcut': model.shortcut,
      'batch_norm_momentum': model.batch_norm_momentum,
      'batch_norm_epsilon': model.batch_norm_epsilon,
      'image_shape': image_shape, 'classes': num_classes,
      'batch': config.global_batch, 'precision': config.precision,
      'learning_rate': config.schedule.peak * 1e-3,
      'momentum': config.optimizer.momentum,
      'nesterov': config.optimizer.nesterov, 'threads': threads,
      'host_memory': host_memory.__file__}


class TorchProcess(contextlib.AbstractContextManager):
  """The process; leaving the context ends it.

  Attributes:
    version: PyTorch's.
    weights: numbers that training changes.
  """

  def __init__(self, python: pathlib.Path | None, values: Mapping[str, Any]):
    """Starts it and waits until its network is built.

    Args:
      python: an interpreter that can import torch; None: this one.
      values: see settings.

    Raises:
      UserError: it cannot be started, or cannot import torch.
    """
    command = os.fspath(python or sys.executable)
    self._errors = tempfile.TemporaryFile('w+', encoding='utf-8')
    try:
      # -P keeps the program's own folder out of sys.path.
      self._process = subprocess.Popen(
          [command, '-P', os.fspath(_PROGRAM)], stdin=subprocess.PIPE,
          stdout=subprocess.PIPE, stderr=self._errors, text=True,
          encoding='utf-8')
      answer = self._ask(values)
    except (OSError, RuntimeError) as error:
      raise UserError(
          f'--torch_python={command} cannot train in PyTorch ({error}): give '
          'the path of a Python 3.11 or later that can import torch, or leave '
          'the flag out.') from error
    self.version: str = answer['version']
    self.weights: int = answer['weights']

  def __call__(self, steps: int) -> Cost:
    """Makes updates; returns what they took there."""
    return Cost(steps, *self._ask(steps))

  def __exit__(self, *_):
    self._process.communicate()  # Closes its stdin, and waits.

  def _ask(self, question):
    """Returns the answer to a line; raises RuntimeError if the process ends."""
    stdin, stdout = self._process.stdin, self._process.stdout
    assert stdin and stdout
    with contextlib.suppress(BrokenPipeError):
      print(json.dumps(question), file=stdin, flush=True)
    answer = stdout.readline()
    if not answer:
      code = self._process.wait()
      self._errors.seek(0)
      lines = self._errors.read().splitlines() or ['it printed no error']
      raise RuntimeError(f'it ended with exit code {code}: {lines[-1]}')
    return json.loads(answer)
