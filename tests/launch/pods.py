"""Runs the pods of an Indexed Job on this machine, without Kubernetes.

  ended = run(objects, image=folder, claims={'runs': folder}, logs=folder)

Emulates, as documented, the Job controller (podFailurePolicy, of which the
first matching rule counts; backoffLimit; a new pod of the same index for one
that has failed), the names of pods (hostnames, and the DNS names of a headless
Service), variables in commands, and volumes. A pod is a process tree with its
own network, mounts, hostname and process numbers: as with
shareProcessNamespace, the command is a child of process 1, and the processes
that it leaves behind end with it. Each pod has a new address, and the names
follow.

Not emulated: images (a folder of this machine stands for what the image has
installed for Python; all other files are this machine's), users, resources,
scheduling, and the time that Kubernetes waits before a restart.

All pods live in namespaces of one process and end with it.
"""
import functools
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
from typing import NamedTuple

_ROOT = pathlib.Path(__file__).parents[2]
POLL_SECS = 0.01
_IMAGE = '/opt'  # A folder of every Linux; only pods mount something over it.
# A user namespace turns any user into root.
_OUTER = ('unshare', *(() if os.geteuid() == 0 else ('--user', '-r')), '--net',
          '--mount-proc', '--pid', '--fork', '--kill-child')
_INNER = ('unshare', '--net', '--uts', '--mount-proc', '--pid', '--fork',
          '--kill-child')
_PROBE = ('ip link add b0 type bridge; ip link add v0 type veth peer name v1; '
          'mount -t tmpfs none /dev/shm; mount --bind /dev/null /etc/hosts; '
          'mount -o remount,bind,ro /')


class Ended(NamedTuple):
  """How a Job ended."""
  status: str  # The condition: Complete or Failed.
  reason: str  # PodFailurePolicy or BackoffLimitExceeded, if it failed.
  failed: int  # Pods that counted as failed.
  pods: list  # [index, exit code, what was done], in the order of their ends.


@functools.cache
def missing():
  """Returns why pods cannot run here; empty if they can."""
  try:
    done = subprocess.run([*_OUTER, *_INNER, 'sh', '-ec', _PROBE], timeout=30,
                          capture_output=True, text=True, check=False)
  except OSError as error:
    return f'{error}'
  return done.stderr.strip() if done.returncode else ''


def run(objects, *, image, claims, logs, signals=(), timeout=60):
  """Runs the Job in a manifest to its end.

  Args:
    objects: the parsed manifest.
    image: folder with the packages that the image has installed for Python.
      The only environment of a command is the pod's.
    claims: {PersistentVolumeClaim: folder}.
    logs: folder; the output of pod N is appended to N.log.
    signals: tuples (index, path, how): once the path exists, that pod is killed
      (how: 'SIGKILL') or preempted ('preempt': told to end, and killed after
      its grace period).
    timeout: seconds.

  Returns:
    Ended.

  Raises:
    TimeoutError: it did not end in time, or could not be run.
  """
  request = {'objects': objects, 'image': os.fspath(image), 'signals': [
      (index, os.fspath(path), how) for index, path, how in signals],
             'claims': {k: os.fspath(v) for k, v in claims.items()},
             'logs': os.fspath(logs)}
  with subprocess.Popen(
      [*_OUTER, sys.executable, '-m', 'tests.launch.pod_controller'],
      cwd=_ROOT, text=True, stdin=subprocess.PIPE,
      stdout=subprocess.PIPE) as process:
    # It ends when its input ends, or when all pods have ended.
    timer = threading.Timer(timeout, process.stdin.close)
    try:
      process.stdin.write(json.dumps(request) + '\n')
      process.stdin.flush()
      timer.start()
      answer = process.stdout.read()
    finally:
      timer.cancel()
      process.stdin.close()
  if not answer:
    raise TimeoutError(f'The job did not end in {timeout} s, or never ran.')
  return Ended(**json.loads(answer))


def action(rules, code, disrupted):
  """Returns what a podFailurePolicy does about a failed pod."""
  for rule in rules:
    exits = rule.get('onExitCodes')
    if exits and (code in exits['values']) == (exits['operator'] == 'In'):
      return rule['action']
    if disrupted and any(one['type'] == 'DisruptionTarget'
                         and one['status'] == 'True'
                         for one in rule.get('onPodConditions', ())):
      return rule['action']
  return 'Count'


def expand(word, variables):
  """Returns a word of a command with its variables filled in."""
  def value(match):
    if match[0] == '$$':
      return '$'
    return variables.get(match[1], match[0])
  return re.sub(r'\$\$|\$\(([^()]*)\)', value, word)


class Node:
  """Where pods run: a bridge between them, their addresses and names."""

  def __init__(self, request):
    self.request = request
    self._addresses, self._names = iter(range(2, 255)), {}
    self._hosts = pathlib.Path(request['logs'], 'hosts')
    self._hosts.touch()
    _ip('link', 'add', 'pods', 'type', 'bridge')
    _ip('link', 'set', 'pods', 'up')

  def start(self, hostname, names, command, variables, mounts, log):
    """Starts a pod; returns the process that ends when it does."""
    number = next(self._addresses)
    address = f'10.0.0.{number}'
    self._names[hostname] = f'{address} {" ".join([hostname, *names])}\n'
    self._write_hosts()
    script = [f'hostname {hostname}', f'mount --bind {self._hosts} /etc/hosts',
              *mounts, f'cd {_IMAGE}', 'ip link set lo up',
              'until ip link set eth0 up 2> /dev/null; do sleep 0.01; done',
              f'ip addr add {address}/24 dev eth0', '"$@" & wait $!']
    with open(log, 'ab') as file:
      process = subprocess.Popen(
          [*_INNER, 'sh', '-ec', '\n'.join(script), 'sh', *command],
          env=variables, stdin=subprocess.DEVNULL,
          stdout=file, stderr=subprocess.STDOUT)
    own = os.readlink('/proc/self/ns/net')
    while (process.poll() is None
           and os.readlink(f'/proc/{process.pid}/ns/net') == own):
      time.sleep(POLL_SECS)
    _ip('link', 'add', f'pod{number}', 'type', 'veth', 'peer', 'name', 'eth0',
        'netns', f'{process.pid}')
    _ip('link', 'set', f'pod{number}', 'master', 'pods', 'up')
    return process

  def _write_hosts(self):
    text = '127.0.0.1 localhost\n' + ''.join(self._names.values())
    # In one write: a pod may be reading it.
    with open(self._hosts, 'r+b', buffering=0) as file:
      file.write(text.encode().ljust(2**14, b'\n'))


class Pod:
  """One pod of a Job."""

  def __init__(self, node, objects, job, index):
    self.index, self.disrupted = index, False
    self._kill_at = None
    name = f'{job["metadata"]["name"]}-{index}'
    template = job['spec']['template']
    container, = template['spec']['containers']
    variables = {one['name']: one['value'] for one in container['env']}
    variables |= {'HOSTNAME': name, 'JOB_COMPLETION_INDEX': f'{index}'}
    self._grace_secs = template['spec']['terminationGracePeriodSeconds']
    self._process = node.start(
        name, [f'{name}.{service}' for service in _services(objects, template)],
        [expand(word, variables) for word in container['command']],
        {'PATH': f'{os.path.dirname(sys.executable)}:/usr/sbin:/usr/bin:/bin',
         'PYTHONPATH': _IMAGE, **variables},
        _mounts(template['spec'], container, node.request),
        f'{node.request["logs"]}/{index}.log')

  def send(self, number):
    """Sends a signal to the command if it is still running."""
    for first in _children(self._process.pid):
      for child in _children(first):
        os.kill(child, number)

  def delete(self):
    """Tells it to end; it is killed after its grace period."""
    self.send(signal.SIGTERM)
    self._kill_at = time.monotonic() + self._grace_secs

  def ended(self):
    """Returns its exit code; None while it is running."""
    if self._kill_at and time.monotonic() > self._kill_at:
      self.send(signal.SIGKILL)
    return self._process.poll()


def _children(pid):
  """Returns process numbers; none if the parent has ended."""
  try:
    text = pathlib.Path(f'/proc/{pid}/task/{pid}/children').read_text()
  except OSError:
    return []
  return [int(child) for child in text.split()]


def _services(objects, template):
  """Yields the names of Services that give a template's pods DNS names."""
  for one in objects:
    spec = one.get('spec', {})
    if (one['kind'] == 'Service' and spec.get('clusterIP') == 'None'
        and spec.get('publishNotReadyAddresses')
        and template['spec'].get('subdomain') == one['metadata']['name']
        and spec['selector'].items() <= template['metadata']['labels'].items()):
      yield one['metadata']['name']


def _mounts(spec, container, request):
  """Yields shell commands that mount the image and the volumes."""
  volumes = {one['name']: one for one in spec['volumes']}
  hidden = _hidden([_IMAGE, *(
      one['mountPath'] for one in container['volumeMounts'])])
  for number, folder in hidden.items():
    yield f'exec {number}< {folder}'
  yield f'mount --bind {request["image"]} {_IMAGE}'
  last = []  # A volume at /tmp may hide folders that stand for claims.
  for mount in container['volumeMounts']:
    volume, path = volumes[mount['name']], mount['mountPath']
    if 'emptyDir' in volume:
      last.append(f'mount -t tmpfs none {path}')
      continue
    claim = volume['persistentVolumeClaim']
    yield f'mount --bind {request["claims"][claim["claimName"]]} {path}'
    if claim['readOnly'] or mount['readOnly']:
      yield f'mount -o remount,bind,ro {path}'
  for number, folder in hidden.items():
    last += [f'mkdir -p {folder}',
             f'mount --no-canonicalize --bind /proc/self/fd/{number} {folder}',
             f'exec {number}<&-']
  if container['securityContext'].get('readOnlyRootFilesystem'):
    last += [f'mount -o remount,bind,ro {path}' for path in ('/', _IMAGE)]
  yield from last


def _hidden(paths):
  """Returns {file descriptor: folder} of needed folders that mounts hide."""
  needed = map(os.path.realpath, (_ROOT, sys.prefix, sys.base_prefix))
  found = {folder for folder in needed for path in paths
           if f'{folder}/'.startswith(f'{path}/')}
  return dict(enumerate(sorted(found), 7))  # Shells allow one digit.


def _ip(*words):
  subprocess.run(['ip', *words], check=True)
