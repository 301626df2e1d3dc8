"""What the commands do, as functions: `import resnet`.

Errors that a user can fix are raised as UserError, one sentence each. No
function ends the process, and each can be called again. In a notebook, training
shows its progress in the cell, and an interrupt saves a checkpoint first; the
same call continues from it.
"""
from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import functools
import os
import pathlib
import signal
import threading
from typing import Any, TYPE_CHECKING

from configs import combinations, loading, schema
from configs.process import tensorflow_process
from configs.process.errors import UserError as UserError
from pipelines.options import Reading
from resnet.execution.options import Options
from resnet.run import run_config
from resnet.run.loggers import packages

if TYPE_CHECKING:
  import keras

_ANSWER = (b'\nInterrupted: saving a checkpoint first. Interrupt again to stop '
           b'without it.\n')


def recipes() -> list[str]:
  """Returns the names of the recipes that come with the project."""
  return loading.names()


def recipe(name: str) -> schema.Config:
  """Returns the config of a recipe, to change its fields and train it.

  Args:
    name: one of `recipes`, or the path of a Python file with a function
      get_config().

  Raises:
    UserError: there is no such recipe.
  """
  return loading.load(name)


def train(config: str | schema.Config, workdir: str | os.PathLike | None = None,
          *, data_dir: str | os.PathLike | None = None,
          strategy: str = 'mirrored', devices: Sequence[str] = (),
          virtual_devices: int = 0, reading: Reading | None = None,
          **options: Any) -> 'Run':
  """Trains to the last step of a config, from what is in the run folder.

  Args:
    config: what is trained; a name stands for `recipe(name)`.
    workdir: the run folder; None: runs/<name>, for a recipe's name.
    data_dir: the folder that holds prepared data sets.
    strategy: 'mirrored' (all devices) or 'one_device'.
    devices: such as 'GPU:0'; empty: all GPUs, or the CPU.
    virtual_devices: splits the CPU into this many devices, before TensorFlow
      has used it. 0: does not.
    reading: how else to read the data.
    **options: of resnet/execution/options.py, such as eval_every_epochs=5,
      init_from='runs/other:best' or extend=True.

  Returns:
    The finished run.

  Raises:
    UserError: the user can fix it.
    KeyboardInterrupt: it was interrupted, and a checkpoint was saved.
  """
  name = config if isinstance(config, str) else None
  settings = loading.load(config) if isinstance(config, str) else config
  combinations.check(settings)
  if workdir is None:
    if name is None:
      raise UserError('workdir is missing: give the folder of the run.')
    workdir = pathlib.Path('runs', loading.run_name(name))
  chosen = _options(options, _reading(reading, data_dir))
  with tensorflow_process.starting():
    from resnet import loop

  over = _strategy(strategy, tuple(devices), virtual_devices)
  with _interrupts_noted() as interrupted:
    loop.train_and_evaluate(settings, over, workdir, chosen,
                            stop_requested=lambda step: interrupted())
    if interrupted():
      raise KeyboardInterrupt(f'saved: call train again to continue {workdir}')
  return Run(workdir)


def load(workdir: str | os.PathLike, checkpoint: str | int = 'latest') -> 'Run':
  """Opens a run, trained here or elsewhere.

  Args:
    workdir: the run folder.
    checkpoint: 'latest', 'best', or the step of one.

  Raises:
    UserError: there is no run.
  """
  return Run(workdir, checkpoint)


class Run:
  """A run folder: what was trained, how well, and the trained network.

  The checkpoint is read when the network is first needed.
  """

  def __init__(self, workdir: str | os.PathLike,
               checkpoint: str | int = 'latest'):
    """Reads the config of a run; see `load`."""
    self.workdir = pathlib.Path(workdir).expanduser()
    self.checkpoint = str(checkpoint)
    self.config = run_config.read(self.workdir)

  def __repr__(self) -> str:
    return f'resnet.load({str(self.workdir)!r}, {self.checkpoint!r})'

  @property
  def metrics(self) -> list[dict[str, Any]]:
    """All rows of metrics.jsonl so far; their 'split' is train or eval."""
    from resnet.run import summaries

    return summaries.read(self.workdir / 'metrics.jsonl')

  @property
  def classes(self) -> tuple[str, ...]:
    """The names of the classes, in the order of the probabilities."""
    return self._restored.classes

  @property
  def step(self) -> int:
    """Updates that the weights of the checkpoint have seen."""
    return self._restored.step

  @functools.cached_property
  def model(self) -> 'keras.Model':
    """The Keras network, with the weights that evaluations use.

    It maps {'image': standardized float32 [b, h, w, c]} to logits; `predict`
    takes pictures as they are.
    """
    from resnet import state

    restored = self._restored
    if restored.config.ema.decay and restored.config.ema.evaluated:
      average = state.averaged(restored.state)
      for variable, value in zip(
          [*restored.state.params, *restored.state.statistics],
          [*average.params, *average.statistics]):
        variable.assign(value)
    return restored.model

  def predict(self, pictures: Any) -> Any:
    """Predicts pictures, with the preprocessing of evaluations.

    Args:
      pictures: uint8 [n, h, w, c], or a list of such images of any sizes; or
        the path of a file or a folder, or a list of paths.

    Returns:
      float32 [n, classes], probabilities; of files a list of
      predictions.Prediction, with `error` set for those that cannot be read.
    """
    if isinstance(pictures, (str, os.PathLike)):
      pictures = [pictures]
    if len(pictures) and isinstance(pictures[0], (str, os.PathLike)):
      return self._of_files(pictures)
    return self._predictor.images(pictures)

  def _of_files(self, paths):
    """Returns predictions of files and of the pictures in folders."""
    from pipelines import picture_paths

    found = picture_paths.find(map(os.fspath, paths), None)
    for name, reason in found.unreadable:
      raise UserError(f'{name} cannot be read ({reason}): make it readable, or '
                      'leave it out.')
    if not found.files:
      raise UserError(f'{", ".join(found.empty)} holds no pictures: give '
                      'a folder that does, or files.')
    return list(self._predictor.files(found.files))

  def evaluate(self, **options: Any) -> dict[str, Any]:
    """Evaluates the checkpoint, each example once.

    Args:
      **options: of resnet.evaluation.evaluation.evaluate, such as
        split='train', details=True, flip=True, average_checkpoints=5.

    Returns:
      {'loss', 'accuracy', 'examples', ...}.
    """
    with tensorflow_process.starting():
      from resnet.evaluation import evaluation

    return evaluation.evaluate(
        self.workdir, checkpoint=self.checkpoint,
        strategy=_strategy('mirrored', (), 0), **options)

  def export(self, formats: Sequence[str] = ('saved_model',),
             output: str | os.PathLike | None = None, **options: Any
             ) -> list[Any]:
    """Exports the checkpoint, and compares each export with evaluation.

    Args:
      formats: of saved_model, keras, onnx and litert.
      output: the folder; None: export/ in the run folder.
      **options: of resnet.exporting.exports.export, such as
        precisions=('float16',).

    Returns:
      One resnet.exporting.exports.Exported for each file.
    """
    restored = self._restored
    from resnet.exporting import exports

    return exports.export(restored, formats, output, strategy=self._over,
                          **options)

  @functools.cached_property
  def _over(self):
    with tensorflow_process.starting():
      return _strategy('mirrored', (), 0)

  @functools.cached_property
  def _restored(self):
    over = self._over
    from resnet.inference import restored

    return restored.restore(self.workdir, self.checkpoint, over)

  @functools.cached_property
  def _predictor(self):
    restored = self._restored
    from resnet.inference import predictions

    return predictions.Predictor(restored, self._over)


@functools.cache  # Two over the same devices would share collective keys.
def _strategy(name, devices, virtual_devices):
  from resnet.distribution import strategy

  return strategy.make(name, devices, virtual_devices)


def _reading(reading, data_dir):
  reading = reading or Reading()
  return reading if data_dir is None else reading._replace(
      data_dir=os.fspath(data_dir))


def _options(given: Mapping[str, Any], reading: Reading) -> Options:
  """Returns the options of the loop; raises UserError if one is wrong."""
  unknown = sorted(set(given) - set(Options._fields))
  if unknown:
    raise UserError(
        f'{unknown[0]}={given[unknown[0]]!r} is not an option: give one of '
        f'{", ".join(Options._fields[1:])}.')
  packages.check(given.get('log_to', ()))
  return Options(**{'reading': reading, **given})


@contextlib.contextmanager
def _interrupts_noted() -> Iterator[Callable[[], bool]]:
  """Notes the first interrupt (Ctrl-C) in the block; a second one raises.

  Only the main thread gets interrupts.
  """
  noted = threading.Event()
  if threading.current_thread() is not threading.main_thread():
    yield noted.is_set
    return
  before = signal.getsignal(signal.SIGINT)

  def note(*_):
    noted.set()
    signal.signal(signal.SIGINT, before)
    with contextlib.suppress(OSError):  # Printing is not safe in a handler.
      os.write(2, _ANSWER)

  signal.signal(signal.SIGINT, note)
  try:
    yield noted.is_set
  finally:
    signal.signal(signal.SIGINT, before)
