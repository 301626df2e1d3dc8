"""A real Slurm cluster of several nodes on this machine, for tests.

  with running(folder) as cluster:
    cluster.run('srun', '--nodes=2', 'hostname')

Each node has its own network, address and host name. All of it lives in the
namespaces of one process, which is killed when this process ends, however it
ends: no processes, networks or mounts are left behind.
"""
import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import time

PARTITIONS = {  # Slurm does not number nodes in alphabetical order.
    'main': ('n8', 'n9', 'n10', 'n11'),
    'preempted': ('n20', 'n21'),  # And 'urgent', which preempts it.
    'fragile': ('n30', 'n31', 'n32'),  # To be cut off.
}
GPUS = 2  # On each node: files that stand in for devices.
_NODES = tuple(node for nodes in PARTITIONS.values() for node in nodes)
_PROGRAMS = ('slurmctld', 'slurmd', 'sbatch', 'munged', 'ip', 'nsenter',
             'unshare', 'mknod')
_NAMESPACES = ('--mount', '--uts', '--net', '--pid')
_START_SECS = 60
_COMMAND_SECS = 180
_NODE_TIMEOUT_SECS, _SHORT_NODE_TIMEOUT_SECS = 300, 10

# No cgroups and no accounting: neither works in a container. A requeued job
# waits for cred_expire until it starts again; 5 s is the minimum. The timeouts
# are long because Slurm drains nodes of a machine that pauses for longer.
_CONF = """\
ClusterName=test
SlurmctldHost=controller(10.213.7.1)
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/%n
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
MpiParams=ports=21000-21999
SwitchType=switch/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,sched_min_interval=0,\
batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=5
MinJobAge=600
SlurmdTimeout={node_timeout}
MessageTimeout=60
UnkillableStepTimeout=600
GresTypes=gpu
{nodes}
PartitionName=main Nodes={main} Default=YES PreemptMode=OFF PriorityTier=10
PartitionName=fragile Nodes={fragile} PreemptMode=OFF PriorityTier=10
PartitionName=preempted Nodes={preempted} PriorityTier=1 GraceTime=5
PartitionName=urgent Nodes={preempted} PreemptMode=OFF PriorityTier=50
"""
_NODE = ('NodeName={node} NodeAddr={address} Port=16818 CPUs=8 '
         'RealMemory=20000 Gres=gpu:{gpus}')
# The first process of the namespaces: starts all others, then reaps them.
# (`ip netns exec` would mount a different /sys, without the cgroups that slurmd
# looks for.)
_INIT = """
set -euo pipefail
cd "$1"
mkdir -p /run/netns
mount -t tmpfs none /run/netns
mount --bind hosts /etc/hosts
hostname controller
ip link set lo up
ip link add switch type bridge
ip addr add 10.213.7.1/24 dev switch
ip link set switch up
for gpu in $(seq 0 $(($2 - 1))); do mknod gpu$gpu c 1 3; done
munged --force --key-file="$1/munge.key" --socket="$1/munge.socket" \
    --pid-file="$1/munge.pid" --log-file="$1/munge.log" --seed-file="$1/seed"
slurmctld -c -i
while read -r address node; do
  ip netns add $node
  ip link add to-$node type veth peer name eth0 netns $node
  ip link set to-$node master switch up
  ip -n $node addr add $address/24 dev eth0
  ip -n $node link set eth0 up
  ip -n $node link set lo up
  nsenter --net=/run/netns/$node unshare --uts sh -ec \
      "hostname $node; exec slurmd -c -N $node"
done < nodes
cat > /dev/null  # Until the tests end, however they end. Meanwhile bash reaps.
"""


def why_not():
  """Returns why no cluster can run here; '' if one can."""
  missing = [name for name in _PROGRAMS if not shutil.which(name)]
  if missing:
    return f'{", ".join(missing)} not installed'
  done = subprocess.run(
      ['unshare', *_NAMESPACES, '--fork', 'sh', '-ec',
       'mount -t tmpfs none /run; mkdir /run/netns; ip netns add n1'],
      capture_output=True, text=True, check=False)
  return done.returncode and (
      f'namespaces cannot be created ({done.stderr.strip()})') or ''


@contextlib.contextmanager
def running(folder):
  """Runs a Cluster for as long as the block.

  Args:
    folder: pathlib.Path for its logs and state; must not exist yet.

  Raises:
    RuntimeError: the cluster does not come up.
  """
  _write_settings(folder)
  with open(folder / 'init.log', 'wb') as log:
    init = subprocess.Popen(
        ['unshare', *_NAMESPACES, '--fork', '--kill-child', '--mount-proc',
         'bash', '-c', _INIT, 'init', folder, str(GPUS)],
        env={**os.environ, 'SLURM_CONF': f'{folder}/slurm.conf'}, stdout=log,
        stderr=log, stdin=subprocess.PIPE, start_new_session=True)
  try:
    yield _started(init, folder)
  finally:
    with init:
      init.kill()


def _write_settings(folder):
  (folder / 'state').mkdir(parents=True)
  folder.chmod(0o755)
  key = folder / 'munge.key'
  key.touch(0o600)
  key.write_bytes(os.urandom(128))
  addresses = {node: f'10.213.7.{10 + i}' for i, node in enumerate(_NODES)}
  for node in _NODES:
    (folder / node).mkdir()
  lines = [f'{address} {node}\n' for node, address in addresses.items()]
  (folder / 'nodes').write_text(''.join(lines))
  (folder / 'hosts').write_text(''.join([
      '127.0.0.1 localhost\n', '10.213.7.1 controller\n', *lines]))
  (folder / 'gres.conf').write_text(
      f'Name=gpu File={folder}/gpu[0-{GPUS - 1}]\n')
  (folder / 'slurm.conf').write_text(_CONF.format(
      folder=folder, node_timeout=_NODE_TIMEOUT_SECS, nodes='\n'.join(
          _NODE.format(node=node, address=address, gpus=GPUS)
          for node, address in addresses.items()),
      **{name: ','.join(nodes) for name, nodes in PARTITIONS.items()}))


def _started(init, folder):
  """Returns the Cluster once all nodes are idle."""
  deadline = time.monotonic() + _START_SECS
  children = pathlib.Path(f'/proc/{init.pid}/task/{init.pid}/children')
  while time.monotonic() < deadline and init.poll() is None:
    first = children.read_text().split()
    if first:
      cluster = Cluster(int(first[0]), folder)
      states = cluster.run('sinfo', '-hNo', '%N %t', check=False)
      idle = {line.split()[0] for line in states.stdout.splitlines()
              if line.endswith(' idle')}
      if idle == set(_NODES):
        return cluster
    time.sleep(0.1)
  logs = {log.name: log.read_text()[-1000:] for log in folder.glob('*.log')}
  raise RuntimeError(f'The Slurm cluster did not come up: {logs}')


class Cluster:
  """Runs commands on the controller's host."""

  def __init__(self, init, folder):
    self._init, self._folder = init, folder

  def run(self, *command, check=True, cwd='/', **environ):
    """Runs a command and returns its subprocess.CompletedProcess, as text.

    Args:
      command: words.
      check: whether its exit code must be 0.
      cwd: the working directory.
      environ: variables to add to this process's.
    """
    done = subprocess.run(
        ['nsenter', f'--target={self._init}', *_NAMESPACES, 'env',
         f'--chdir={cwd}', *command], check=False, capture_output=True,
        text=True, timeout=_COMMAND_SECS,
        env={**os.environ, 'SLURM_CONF': f'{self._folder}/slurm.conf',
             **environ})
    assert not check or not done.returncode, done
    return done

  def state(self, job):
    """Returns the state of a job or an array, as in squeue: 'RUNNING'."""
    done = self.run('squeue', '-hrt', 'all', '-j', job, '-o', '%T')
    states = set(done.stdout.split())
    return states.pop() if len(states) == 1 else ' '.join(sorted(states))

  def details(self, job):
    """Returns what scontrol shows of a job: {'ExitCode': '2:0', ...}."""
    words = self.run('scontrol', '--oneliner', 'show', 'job', job).stdout
    return dict(word.split('=', 1) for word in words.split() if '=' in word)

  def wait_for(self, job, *states, secs=120):
    """Waits until a job is in one of several states; returns which."""
    deadline = time.monotonic() + secs
    while (state := self.state(job)) not in states:
      if time.monotonic() > deadline:
        reasons = self.run('sinfo', '--list-reasons').stdout
        raise TimeoutError(f'job {job} is {state}, not {states}: '
                           f'{self.details(job)} {reasons}')
      time.sleep(0.2)
    return state

  def start_soon(self, job):
    """Starts a requeued job sooner than Slurm would by itself."""
    # In the second in which a job was killed, its nodes refuse to start it.
    self.run('scontrol', 'update', f'job={job}', 'StartTime=now+2')

  @contextlib.contextmanager
  def cut_off(self, node):
    """Pulls a node's network cable; lets Slurm notice it within the block."""
    self.run('ip', 'link', 'set', f'to-{node}', 'down')
    self._set_node_timeout(_SHORT_NODE_TIMEOUT_SECS)
    yield
    self._set_node_timeout(_NODE_TIMEOUT_SECS)

  def _set_node_timeout(self, secs):
    conf = self._folder / 'slurm.conf'
    conf.write_text(re.sub(
        r'(?<=SlurmdTimeout=)\d+', str(secs), conf.read_text()))
    self.run('scontrol', 'reconfigure')
