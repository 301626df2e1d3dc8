"""Weights & Biases: a run with the config and the figures.

It is kept in RUN/wandb, for `wandb sync`, unless WANDB_MODE=online sends it to
the server. WANDB_PROJECT, `resnet` without it, and the package's other
variables hold as well. A run that is continued offline begins another folder in
RUN/wandb, under the same id.

W&B drops what has an earlier step than it has seen, and a run that is continued
trains some steps again. So W&B's own step counts the records, across processes,
and the step of the run is a metric, `step`, over which all others are drawn. A
step that is trained again after a kill may have two points there, with the same
values unless they depend on the clock.
"""
from collections.abc import Mapping
import importlib
import os
import secrets
import sys
from typing import Any

from resnet.run.loggers.memory import ROWS
from resnet.run.loggers.service import End, figures, Run

_PROJECT = 'resnet'


class Wandb:
  """A service.Service."""

  def __init__(self, run: Run):
    self._run, self.known = run, {}
    self._mode = os.environ.get('WANDB_MODE') or 'offline'
    # Offline, W&B writes its file when 32 KiB are full, and when it closes it.
    self.keeps_at_once = self._mode == 'online'
    self._wandb: Any = None
    self._at_wandb: Any = None

  def prepare(self) -> None:
    """Chooses the id, so that a killed process leaves one; see Service."""
    if self._mode != 'online' and not list(
        self._run.folder.glob(f'wandb/*-{self.known.get("id")}')):
      self.known = {}  # What it had of the run was deleted.
    self.known.setdefault('id', secrets.token_hex(4))

  def begin(self) -> None:
    """Begins a run, or continues it; see service.Service."""
    os.environ.setdefault('WANDB_ERROR_REPORTING', 'false')
    self._wandb = wandb = importlib.import_module('wandb')
    hooks = sys.exit, sys.excepthook
    try:
      self._at_wandb = wandb.init(
          project=os.environ.get('WANDB_PROJECT') or _PROJECT,
          name=os.environ.get('WANDB_NAME') or self._run.name,
          id=self.known['id'], resume='allow', mode=self._mode,
          dir=str(self._run.folder),
          config=dict(self._run.settings),
          settings=wandb.Settings(
              silent=True, console='off', login_timeout=1, save_code=False,
              disable_git=True, x_disable_stats=True, reinit='create_new'))
    finally:
      sys.exit, sys.excepthook = hooks  # It puts its own in their place.
    self._at_wandb.define_metric('step', hidden=True)
    self._at_wandb.define_metric('*', step_metric='step')

  def send(self, record: Mapping[str, Any]) -> None:
    """Hands over a record; see service.Service."""
    row = self.known.get(ROWS, 0)
    self._at_wandb.log({'step': record['step'], **figures(record)}, step=row,
                       commit=True)
    self.known[ROWS] = row + 1

  def close(self, end: End) -> None:
    """Waits for the process that keeps the run; see service.Service."""
    if end is End.STOPPED:
      self._at_wandb.mark_preempting()
    self._at_wandb.finish(exit_code=0 if end is End.FINISHED else 1)
    if not self._wandb.run:  # Somebody else's, in a notebook.
      self._wandb.teardown()
