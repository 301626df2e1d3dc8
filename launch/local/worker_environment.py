"""The environment of each worker on one machine: addresses, GPUs, threads.

  ports = free_ports(2)
  gpus = visible_gpus(os.environ)
  of_worker_0, of_worker_1 = of_workers(ports, 1, gpus, os.environ)
"""
from collections.abc import Mapping, Sequence
import contextlib
import glob
import json
import os
import random
import socket
import subprocess

from configs.process.errors import UserError
from launch.cluster import contract

_NVIDIA_SMI_SECS = 60  # It wakes sleeping GPUs, one after the other.


def most_workers() -> int:
  """Returns how many workers this machine can be asked for.

  Each is a process of some 0.5 GiB, and more than a few on a core only wait for
  each other. Sixteen leave room for machines with many GPUs and few cores.
  """
  return max(64, 16 * len(os.sched_getaffinity(0)))


def free_ports(count: int) -> list[int]:
  """Returns distinct TCP ports on which nobody listens.

  They lie below those that Linux uses for outgoing connections, if possible.
  """
  with contextlib.ExitStack() as held:  # Until all are found.
    # In random order, whatever seed the process has set: others look for free
    # ports too, and workers open theirs only seconds later.
    tries = list(range(contract.FIRST_FREE_PORT, contract.END_FREE_PORT))
    random.SystemRandom().shuffle(tries)
    ports = []
    while len(ports) < count:
      listener = held.enter_context(socket.socket())
      try:
        listener.bind(('', tries.pop() if tries else 0))
      except OSError:
        continue
      ports.append(listener.getsockname()[1])
  return ports


def visible_gpus(environ: Mapping[str, str]) -> list[str]:
  """Returns the GPUs that a process may use here.

  Args:
    environ: the user's environment; CUDA_VISIBLE_DEVICES limits the choice.

  Returns:
    Names as CUDA_VISIBLE_DEVICES takes them: numbers or UUIDs.
  """
  found = [str(index) for index in range(_installed_gpus())]
  chosen = environ.get('CUDA_VISIBLE_DEVICES')
  if not found or chosen is None:
    return found
  names = [name.strip() for name in chosen.split(',')]
  ends = [index for index, name in enumerate(names) if name in ('', '-1')]
  return names[:min(ends, default=len(names))]  # CUDA stops at those too.


def _installed_gpus():
  try:
    listed = subprocess.run(
        ['nvidia-smi', '-L'], capture_output=True, text=True, check=False,
        timeout=_NVIDIA_SMI_SECS).stdout
  except (OSError, subprocess.TimeoutExpired):
    listed = ''
  named = sum(line.startswith('GPU ') for line in listed.splitlines())
  return named or len(glob.glob('/dev/nvidia[0-9]*'))


def check_gpus(workers: int, gpus_per_worker: int,
               gpus: Sequence[str]) -> None:
  """Raises UserError if there are too few GPUs for the workers."""
  needed = workers * gpus_per_worker
  if needed > len(gpus):
    raise UserError(
        f'--workers={workers} with --gpus_per_worker={gpus_per_worker} needs '
        f'{needed} GPUs, but {len(gpus)} can be used here: lower one of the '
        'two, or give --gpus_per_worker=0 to train on the CPU.')


def of_workers(ports: Sequence[int], gpus_per_worker: int, gpus: Sequence[str],
               environ: Mapping[str, str],
               restart_count: int = 0) -> list[dict[str, str]]:
  """Returns the variables that each worker has in addition to the user's.

  Args:
    ports: one for each worker.
    gpus_per_worker: GPUs for each; 0: the CPU.
    gpus: names of GPUs, enough for all workers.
    environ: the user's environment; thread counts that it sets are kept.
    restart_count: attempts before this one.

  Returns:
    {name: value} for each worker, in rank order; names in alphabetical order.
  """
  cores = len(os.sched_getaffinity(0))
  threads = {name: str(max(1, cores // len(ports)))
             for name in contract.THREAD_VARIABLES if name not in environ}
  addresses = [f'127.0.0.1:{port}' for port in ports]
  found = []
  for rank in range(len(ports)):
    own = gpus[rank * gpus_per_worker:(rank + 1) * gpus_per_worker]
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
