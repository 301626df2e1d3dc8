"""The job that flags ask for, unless it would be refused, or the run lost."""
import posixpath
import re

from configs.process.errors import UserError
from launch.kubernetes import objects, pods

_LONGEST = 63  # RFC 1035, for each part of a DNS name.
_LABEL = '[a-z]([-a-z0-9]*[a-z0-9])?'  # RFC 1035.
_SUBDOMAIN = r'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*'
_QUALIFIED = '[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?'
_NODE_LABEL = f'({_SUBDOMAIN}/)?{_QUALIFIED}=({_QUALIFIED})?'
_FOLDER = r'(/(?!\.{1,2}(/|$))[^/:\s]+)+'  # Absolute, without . and .. in it.
_CPUS = r'(?=.*[1-9])\d+(\.\d{1,3}|m)?'
# Memory without a unit would be bytes, and with m thousandths of them.
_MEMORY = r'(?=.*[1-9])\d+(\.\d+)?[MGTP]i?'
_NEEDED = {'name': 'the name of the job',
           'image': 'the container image of the project',
           'workers': 'how many pods to start',
           'workdir_claim': 'the PersistentVolumeClaim that keeps the run'}


def training(values, trainer_flags):
  """The job that flags ask for.

  Args:
    values: parsed absl flags, those of launch.kubernetes.
    trainer_flags: list of those for resnet.train.

  Returns:
    pods.Training.

  Raises:
    UserError: one is missing or wrong, or the run would be lost.
  """
  for name, what in _NEEDED.items():
    if values[name].value is None:
      raise UserError(f'--{name} is missing: give {what}.')
  _check('image', values.image, r'\S+', 'the name of an image')
  _check('cpus', values.cpus, _CPUS, 'a number of CPUs such as 8, 0.5 or 500m')
  _check('memory', values.memory, _MEMORY, 'a size such as 512Mi or 64Gi')
  _check_name(values)
  if values.kind == 'tfjob' and values.workers == 1:
    raise UserError('--kind=tfjob --workers=1 would train nothing, as its '
                    'operator gives a single pod no TF_CONFIG: give '
                    '--kind=job, or more workers.')
  volumes = _volumes(values)
  return pods.Training(
      name=values.name, image=values.image, workers=values.workers,
      gpus_per_worker=values.gpus_per_worker, cpus=values.cpus,
      memory=values.memory, volumes=volumes,
      workdir=_folders(volumes, trainer_flags)[0],
      node_selector=_node_selector(values.node_selector),
      user=values.user, max_restarts=values.max_restarts,
      grace_seconds=values.grace_seconds, trainer_flags=tuple(trainer_flags))


def _check(flag, value, pattern, allowed):
  if not re.fullmatch(pattern, value):
    raise UserError(f'--{flag}={value} is not {allowed}: mend it.')


def _check_name(values):
  """Raises UserError unless all names made of a name are those of hosts."""
  _check('name', values.name, _LABEL, 'made of a-z, 0-9 and -, with a letter '
         'first and no - at the end')
  longest = objects.longest_name(values.kind, values.name, values.workers)
  if values.tensorboard:
    longest = max(longest, objects.tensorboard_name(values.name), key=len)
  surplus = len(longest) - _LONGEST
  if surplus > 0:
    raise UserError(
        f'--name={values.name} is too long, as Kubernetes would have {longest} '
        f'and allows {_LONGEST} characters: take off {surplus}.')


def _volumes(values):
  """The claims and their mounts; the first is that of the run."""
  volumes = [pods.Volume('workdir', values.workdir_claim, values.workdir_mount)]
  if values.data_claim is not None:
    volumes.append(pods.Volume('data', values.data_claim, values.data_mount,
                               read_only=True))
  taken = set(pods.MOUNTS)
  for volume in volumes:
    _check(f'{volume.name}_claim', volume.claim, _SUBDOMAIN,
           'the name of a PersistentVolumeClaim (a-z, 0-9, - and .)')
    _check(f'{volume.name}_mount', volume.mount, _FOLDER, 'an absolute path')
    if volume.mount in taken:
      raise UserError(
          f'--{volume.name}_mount={volume.mount} is taken: give each claim a '
          f'folder of its own, and none {" or ".join(pods.MOUNTS)}.')
    taken.add(volume.mount)
  return tuple(volumes)


def _folders(volumes, trainer_flags):
  """What the trainer reads and writes, a folder in each of the volumes."""
  found = []
  for volume, flag in zip(volumes, ('workdir', 'data_dir')):
    path = _value(flag, trainer_flags)
    if path is None:
      raise UserError(
          f'--{flag} is missing after --: give a folder in {volume.mount}, '
          f'where the claim {volume.claim} is mounted.')
    if not f'{posixpath.normpath(path)}/'.startswith(f'{volume.mount}/'):
      raise UserError(
          f'--{flag}={path} is not in {volume.mount}, where the claim '
          f'{volume.claim} is mounted, and would be lost with the pod: give a '
          f'folder in it, or another --{volume.name}_mount before --.')
    found.append(path)
  return found


def _value(flag, trainer_flags):
  """What a flag is given, as absl reads it; None if it is not."""
  value = None
  for word, following in zip(trainer_flags, [*trainer_flags[1:], None]):
    name, equals, text = word.partition('=')
    if name in (f'-{flag}', f'--{flag}'):
      value = text if equals else following
  return value


def _node_selector(labels):
  for label in labels:
    _check('node_selector', label, _NODE_LABEL, 'key=value, as labels of nodes '
           'are')
  return dict(label.split('=') for label in labels)
