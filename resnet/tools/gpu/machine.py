"""What the machine has: devices, driver, versions."""
import os
import subprocess

import tensorflow as tf

from resnet.execution.options import Options
from resnet.run import software, surroundings
from resnet.tools.gpu.job import Job

_QUERY = 'driver_version,memory.total,power.limit,pcie.link.gen.max'
_QUERY_SECS = 60
_BUILD = ('cuda_version', 'cudnn_version')


def measure(job: Job) -> None:
  """Says what there is, and which devices are measured."""
  gpus = tf.config.list_physical_devices('GPU')
  is_cpu = not gpus or job.virtual_devices
  kind = 'CPU' if is_cpu else 'GPU'
  count = max(job.virtual_devices, 1) if is_cpu else len(gpus)
  add = job.found.add
  add('measured on', f'{count} x {kind}',
      note='the CPU, split' if job.virtual_devices else '',
      measure='devices', kind=kind, count=count)
  for index, gpu in enumerate(gpus):
    add(f'GPU {index}', _gpu(gpu), measure='gpu')
  if not gpus:
    add('GPUs', None, note='TensorFlow finds none')
  for index, line in enumerate(_driver()):
    add(f'driver, memory, power, PCIe of GPU {index}', line)
  here = surroundings.of(Options(), software.code_digest())
  add('CPU', here['cpu'])
  add('cores', len(os.sched_getaffinity(0)), measure='cores')
  add('memory', os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
      / 2**30, 'GiB')
  add('load average at the start', os.getloadavg()[0])
  for name, version in software.versions().items():
    add(name, version)
  build = tf.sysconfig.get_build_info()
  for name in _BUILD:
    add(f'{name}, of TensorFlow', build.get(name))


def _gpu(gpu):
  details = tf.config.experimental.get_device_details(gpu)
  capability = '.'.join(map(str, details.get('compute_capability', ())))
  return (f'{details.get("device_name", "unknown")}, compute capability '
          f'{capability or "unknown"}')


def _driver():
  """Returns what nvidia-smi says, a line for each GPU."""
  try:
    said = subprocess.run(
        ['nvidia-smi', f'--query-gpu={_QUERY}', '--format=csv,noheader'],
        capture_output=True, text=True, timeout=_QUERY_SECS, check=True)
  except (OSError, subprocess.SubprocessError):
    return []
  return said.stdout.strip().splitlines()
