"""What TensorBoard shows of a run as a whole, written at its start."""
from collections.abc import Mapping, Sequence
import os
import platform
import shlex
import sys
from typing import Any

from configs import schema
from resnet.distribution import strategy
from resnet.models import own
from resnet.run import software, source_commit
from resnet.run.events import graph, layout
from resnet.run.screen import report


def write(run: Any, data: Mapping[str, Any], init: Mapping[str, Any] | None,
          settings: Mapping[str, str]) -> None:
  """Writes texts, settings, the network and the layout of the charts.

  The chief calls it each time that the run begins at step 0: what was there is
  dropped.

  Args:
    run: the session.Session.
    data: record of the data, see pipelines.identity.record.
    init: what it began from, see weights/starting.py; None: fresh weights.
    settings: see surroundings.of.
  """
  written, config = run.written, run.config
  written.write_settings(schema.plain_fields(config))
  written.write_text('run/about', _facts(run, settings))
  written.write_text('run/config', report.config_text(config))
  if init:
    written.write_text('run/init_from', report.json_text(init))
  has = {
      layout.ON_GPUS: strategy.on_gpus(run.group.strategy),
      layout.FLOAT16: schema.loss_precision(config) == 'float16',
      layout.AVERAGED: bool(config.ema.decay),
      layout.TOP5: len(data['classes']) > 5}
  written.write_summary('train', 0, layout.summary(
      [what for what, there in has.items() if there], own.metrics(config)))
  written.write_graph(graph.of(run.model))


def write_restart(run: Any, changes: Sequence[str]) -> None:
  """Writes what has changed since the run was last trained. The chief calls it.

  Args:
    run: the session.Session.
    changes: lines, as the screen shows them.
  """
  run.written.write_text('run/restarts', '\n'.join(
      f'- {_plain(change)}' for change in changes), run.step)
  if run.folder.before:
    run.written.write_text(
        'run/config', report.config_text(run.config), run.step)


def _facts(run, settings):
  """Returns a list of where the run began and with which programs.

  Not a table: TensorBoard breaks the words of narrow columns.
  """
  replicas = report.replicas(run.group)
  facts = {
      'command': f'`{shlex.join(sys.argv)}`',
      'run folder': os.path.abspath(run.folder.path),
      'host': platform.node(),
      'workers': str(replicas['workers']),
      'devices of each': ', '.join(replicas['devices']),
      **software.versions(), 'git commit': source_commit.of() or 'not known',
      **settings}
  return '\n'.join(f'- **{name}**: {_plain(value) or "-"}'
                   for name, value in facts.items())


def _plain(text):
  """Returns a text for one line of Markdown."""
  return text.replace('\n', ' ')
