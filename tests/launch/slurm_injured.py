"""python -m resnet.train, injured once in the first start of its job.

RESNET_TEST_INJURY=kill: worker 1 is killed before update 6. requeue: an
administrator puts the job back into the queue at that moment.
"""
import os
import signal
import subprocess
import time

from configs.process import command_line
from resnet.distribution import stop_signals
from resnet.train import main, parse
from tests import processes

_STEP = 5
_SIGNAL_SECS = 60


def _injure(done):
  first = os.environ.get('SLURM_RESTART_COUNT', '0') == '0'
  if done != _STEP or not first or os.environ['SLURM_PROCID'] != '1':
    return
  if os.environ['RESNET_TEST_INJURY'] == 'kill':
    os.kill(os.getpid(), signal.SIGKILL)
  subprocess.run(['scontrol', 'requeue', os.environ['SLURM_JOB_ID']],
                 check=True)
  deadline = time.monotonic() + _SIGNAL_SECS
  while not stop_signals.requested() and time.monotonic() < deadline:
    time.sleep(0.01)


if __name__ == '__main__':
  processes.call_between_calls(_injure)
  command_line.run(main, parse)
