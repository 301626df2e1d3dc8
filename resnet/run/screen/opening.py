"""What a run says of itself when it starts."""
from collections.abc import Mapping
from typing import Any

from configs import schema
from resnet.run import description, extension, software, surroundings
from resnet.run.screen import report
from resnet.weights import starting


def describe(run: Any, data: Mapping[str, Any],
             init: Mapping[str, Any] | None) -> None:
  """Says what a run is: in its folder, in TensorBoard and on the screen.

  Args:
    run: the session.Session.
    data: record of the data, see pipelines.identity.record.
    init: what it began from, see weights/starting.py; None: fresh weights.
  """
  replicas, before = report.replicas(run.group), run.folder.description
  settings = surroundings.of(run.options, software.code_digest())
  if run.group.is_chief:
    if run.folder.before:
      extended = extension.record(
          run.folder.path, run.step, run.folder.before, run.config)
      run.bar.say(extended)
      run.written.write_text('extension', extended, run.step)
    run.folder.describe(run.config, data,
                        {'replicas': replicas, 'settings': settings,
                         'data_dir': run.options.reading.folder,
                         **({'init': init} if init else {})})
    if not run.step:
      run.written.write_text('config', report.config_text(run.config))
      run.written.write_settings(schema.plain_fields(run.config))
      if init:
        run.written.write_text('init_from', report.json_text(init))
  run.bar.say(report.start_text(
      run.config, replicas, run.step, run.total_steps, run.folder.path))
  if not run.step:
    if init:
      run.bar.say(starting.text(init))
    if run.config.finetune.frozen:
      run.bar.say(report.frozen_text(run.config, sum(
          p.shape.num_elements() for p in run.state.params)))
    return
  if replicas != before.get('replicas'):
    run.bar.say(report.moved_text(before.get('replicas'), replicas))
  changes = 'settings' in before and surroundings.differences(
      description.settings(before), {**software.versions(), **settings})
  if changes:
    run.bar.say(report.settings_text(changes))
