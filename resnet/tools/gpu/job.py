"""What a part is to measure: plain values that cross to its process."""
import dataclasses
import json
import os
import pathlib
import time

from configs import schema
from pipelines.options import Reading
from resnet.tools.gpu import findings
from resnet.tools.gpu.pictures import Kind


@dataclasses.dataclass
class Job:
  """What to measure, and where what is found goes.

  Attributes:
    config: what is trained.
    reading: how to read the data set.
    jit: 'true', 'false' or 'auto'.
    batches: images per device and step; the first one for most parts.
    log_every_steps: of the runs of the training loop.
    block_secs: shortest duration of a measurement.
    folder: for temporary files.
    trace_folder: for the profiler's trace, which is kept.
    pictures: that stand in for the data set; None: none do.
    virtual_devices: that the CPU is split into; 0: it is not split.
    kind: 'GPU' or 'CPU'.
    count: devices.
    ends: time.time() when the part must be done.
    found: where findings go.
  """
  config: schema.Config
  reading: Reading
  jit: str
  batches: list[int]
  log_every_steps: int
  block_secs: float
  folder: pathlib.Path
  trace_folder: pathlib.Path
  pictures: Kind | None = None
  virtual_devices: int = 0
  kind: str = 'CPU'
  count: int = 1
  ends: float = 0.0
  found: findings.Writer = dataclasses.field(
      default_factory=lambda: findings.Writer(os.devnull))

  def left(self) -> float:
    """Returns the seconds that are left."""
    return self.ends - time.time()

  def counts(self) -> list[int]:
    """Returns the numbers of devices to measure, the important ones first."""
    powers = [2**i for i in range(1, self.count.bit_length())
              if 2**i < self.count]
    return list(dict.fromkeys([1, self.count, *powers]))


def write(job: Job, path: pathlib.Path) -> None:
  """Writes all but `ends` and `found`; undone by `read`."""
  values = {field.name: getattr(job, field.name)
            for field in dataclasses.fields(job)
            if field.name not in ('ends', 'found')}
  values.update(
      config=schema.to_dict(job.config), reading=job.reading,
      folder=os.fspath(job.folder), trace_folder=os.fspath(job.trace_folder))
  path.write_text(json.dumps(values), 'utf-8')


def read(path: pathlib.Path, secs: float, found: pathlib.Path) -> Job:
  """Returns the job that was written to a file.

  Args:
    path: of the file.
    secs: until the part must be done.
    found: path of the file that findings go to.
  """
  values = json.loads(path.read_text('utf-8'))
  for name in ('folder', 'trace_folder'):
    values[name] = pathlib.Path(values[name])
  values.update(config=schema.from_dict(values['config']),
                reading=Reading(*values['reading']),
                pictures=_kind(values['pictures']))
  return Job(**values, ends=time.time() + secs, found=findings.Writer(found))


def _kind(values):
  return values and Kind(tuple(values[0]), *values[1:])
