"""A process of its own for each part: it may crash, hang or fill a GPU.

  written, log = part_process.run(job, 'steps', secs=120)
"""
from collections.abc import Mapping
import os
import pathlib

from configs.process import python_module
from resnet.tools.gpu import failures, findings, processes
from resnet.tools.gpu import job as job_lib

_MODULE = 'resnet.tools.gpu.measure'
_LATE = 0.1  # Share of the time to end in after the part was told to be done.
_NONE: Mapping[str, str] = {}


def run(job: job_lib.Job, part: str, secs: float, *,
        environ: Mapping[str, str] = _NONE, cores: int = 0,
        own_group: bool = False) -> tuple[findings.Written, pathlib.Path]:
  """Measures a part in a process of its own; waits until it ends.

  Args:
    job: what to measure.
    part: its name.
    secs: that it may take.
    environ: variables to add.
    cores: that it may use; 0: all.
    own_group: see processes.run.

  Returns:
    (what it has written, with the failure if it crashed or was killed; the
    path of the log of what it printed).
  """
  name = f'{part}-{cores}' if cores else part
  description, found, log = (job.folder / f'{name}{end}' for end in (
      '.job.json', '.jsonl', '.log'))
  found.unlink(missing_ok=True)
  job_lib.write(job, description)
  words = [*python_module.command(_MODULE), f'--part={part}',
           f'--job={description}', f'--found={found}', f'--cores={cores}',
           f'--secs={(1 - _LATE) * secs}']
  failure = None
  try:
    processes.run(words, secs=secs, log=log, own_group=own_group,
                  environ=python_module.environment({**os.environ, **environ}))
  except processes.TookTooLong as error:
    failure = (f'{error}: give a larger --max_mins, or find out whether it '
               'hangs')
  except failures.Failed as error:
    failure = str(error)
  written = findings.read(found)
  return written._replace(failure=written.failure or failure), log


def figures(job: job_lib.Job, part: str, secs: float, *,
            environ: Mapping[str, str] = _NONE,
            cores: int = 0) -> list[findings.Finding]:
  """Returns what a part found, measured as `run` does.

  Raises:
    failures.Failed: it failed.
  """
  written, _ = run(job, part, secs, environ=environ, cores=cores)
  if written.failure:
    raise failures.Failed(written.failure)
  return written.findings
