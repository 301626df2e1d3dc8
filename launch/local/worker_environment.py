"""What the workers of one machine find in their environment.

  ports = free_ports(2)
  gpus = visible_gpus(os.environ)
  for_worker_0, for_worker_1 = of_workers(ports, 1, gpus, os.environ)
"""
import contextlib
import glob
import json
import os
import random
import socket
import subprocess

from configs.process.errors import UserError

FIRST_PORT = 20000
_END_PORT = 32768  # From here on Linux gives ports to whoever connects.
# Of TensorFlow; on CPUs, other numbers of them give other bits.
THREADS = ('OMP_NUM_THREADS', 'TF_NUM_INTEROP_THREADS',
           'TF_NUM_INTRAOP_THREADS')
_NVIDIA_SMI_SECS = 60  # It wakes sleeping GPUs, one after the other.


def free_ports(count):
  """Distinct TCP ports that nobody listens on, below 32768 where possible."""
  with contextlib.ExitStack() as held:  # Until all are found.
    # At random: others look for free ports as well, and workers open theirs
    # only seconds later.
    tries = list(range(FIRST_PORT, _END_PORT))
    random.shuffle(tries)
    ports = []
    while len(ports) < count:
      listener = held.enter_context(socket.socket())
      try:
        listener.bind(('', tries.pop() if tries else 0))
      except OSError:
        continue
      ports.append(listener.getsockname()[1])
  return ports


def visible_gpus(environ):
  """Names of the GPUs that a process may use here, as CUDA_VISIBLE_DEVICES has.

  Args:
    environ: of the user; its CUDA_VISIBLE_DEVICES chooses, if there is one.
  """
  found = [str(index) for index in range(_installed_gpus())]
  chosen = environ.get('CUDA_VISIBLE_DEVICES')
  if not found or chosen is None:
    return found
  names = [name.strip() for name in chosen.split(',')]
  ends = [index for index, name in enumerate(names) if name in ('', '-1')]
  return names[:min(ends, default=len(names))]  # As CUDA reads it.


def _installed_gpus():
  try:
    listed = subprocess.run(
        ['nvidia-smi', '-L'], capture_output=True, text=True, check=False,
        timeout=_NVIDIA_SMI_SECS).stdout
  except (OSError, subprocess.TimeoutExpired):
    listed = ''
  named = sum(line.startswith('GPU ') for line in listed.splitlines())
  return named or len(glob.glob('/dev/nvidia[0-9]*'))


def check_devices(workers, devices_per_worker, gpus):
  """Raises UserError if there are too few GPUs for the workers."""
  needed = workers * devices_per_worker
  if needed > len(gpus):
    raise UserError(
        f'--workers={workers} with --devices_per_worker={devices_per_worker} '
        f'needs {needed} GPUs, and there are {len(gpus)} here: give fewer '
        'of either (--devices_per_worker=0 is the CPU).')


def of_workers(ports, devices_per_worker, gpus, environ, restart_count=0):
  """The variables to add to the user's, one dict for each worker.

  Args:
    ports: one for each worker.
    devices_per_worker: GPUs for each; 0: the CPU.
    gpus: names of GPUs, enough for all workers.
    environ: of the user; numbers of threads that it sets are kept.
    restart_count: attempts before this one.

  Returns:
    List of {name: text}, names in alphabetical order.
  """
  cores = len(os.sched_getaffinity(0))
  threads = {name: str(max(1, cores // len(ports))) for name in THREADS
             if name not in environ}
  addresses = [f'127.0.0.1:{port}' for port in ports]
  found = []
  for rank in range(len(ports)):
    own = gpus[rank * devices_per_worker:(rank + 1) * devices_per_worker]
    variables = {
        'CUDA_VISIBLE_DEVICES': ','.join(own) or '-1',
        'PYTHONUNBUFFERED': '1',
        'RESNET_RESTART_COUNT': str(restart_count),
        'TF_CONFIG': json.dumps({
            'cluster': {'worker': addresses},
            'task': {'type': 'worker', 'index': rank}}),
        **threads}
    found.append(dict(sorted(variables.items())))
  return found
