"""How a run executes, as plain values that do not need TensorFlow.

None of them changes what is trained. training_flags and execution_flags define
the flags.
"""
import os
from typing import NamedTuple

from launch.cluster import contract
from pipelines.options import Reading

STRATEGIES = ('one_device', 'mirrored', contract.MULTI_WORKER)
COLLECTIVES = ('auto', 'ring', 'nccl')
PROFILED = ('chief', 'all')  # Workers.
LOGGERS = ('wandb', 'mlflow')


class Options(NamedTuple):
  """Options of the training loop."""
  reading: Reading = Reading()
  jit: str = 'auto'
  log_every_steps: int = 100
  eval_every_epochs: float = 1.0
  eval_every_steps: int = 0  # If not 0, used instead of eval_every_epochs.
  save_every_secs: float = 300.0
  save_every_steps: int = 0
  keep_last: int = 3
  keep_best: int = 1
  steps_per_call: int = 0  # 0: about one second's worth.
  stall_secs: float = 300.0  # Until stacks are shown; 0: never.
  log_positions: bool = False  # Whether log points identify their examples.
  # Of the strategy, which is made already; the run only notes them.
  deterministic: bool = False
  collectives: str = 'auto'
  pack_mib: int = 0
  # What a new run starts from, see weights/starting.py; None: fresh weights.
  init_from: str | os.PathLike[str] | None = None
  keep_optimizer: bool = False
  extend: bool = False  # Whether a run may train on with another config.
  # What else a run writes of itself.
  histograms_every_steps: int = 0  # 0: never.
  profile_steps: tuple[int, int] | None = None  # First, and the one after.
  profile_workers: str = 'chief'  # One of PROFILED.
  log_to: tuple[str, ...] = ()  # Of LOGGERS.


class WorkerOptions(NamedTuple):
  """How several workers wait for each other and sum their gradients."""
  collectives: str = 'auto'  # One of COLLECTIVES.
  start_secs: int = 600  # Until all workers must have started.
  heartbeat_secs: int = 10  # Until a silent worker counts as lost.
  # Until a collective counts as hung; 0: never. Longer than any worker may be
  # late: compiling, evaluating, saving, waiting for a slow file server.
  collective_secs: int = 1800
  pack_mib: int = 0  # Size of the packs that gradients are summed in; 0: one.
