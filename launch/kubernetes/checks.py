"""Turns flags into a job; refuses what would fail later or lose the run."""
from collections.abc import Sequence
import posixpath
import re

from absl import flags

from configs.process import flag_words, paths
from configs.process.errors import UserError
from launch import trainer_command
from launch.kubernetes import objects, pods

_LONGEST = 63  # RFC 1035, for each part of a DNS name.
_LABEL = '[a-z]([-a-z0-9]*[a-z0-9])?'  # RFC 1035.
_SUBDOMAIN = r'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*'
_QUALIFIED = '[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?'
_NODE_LABEL = f'({_SUBDOMAIN}/)?{_QUALIFIED}=({_QUALIFIED})?'
_PATH = r'(/(?!\.{1,2}(/|$))[^/:\s]+)+'  # Absolute, without . and .. in it.
_CPUS = r'(?=.*[1-9])[0-9]{1,9}(\.[0-9]{1,3}|m)?'
# Without a unit, memory would be in bytes; with m, in thousandths of a byte.
_MEMORY = r'(?=.*[1-9])[0-9]{1,9}(\.[0-9]{1,9})?[MGTP]i?'
_MOST_FAILURES = 2**31 - 1
_REQUIRED = {'name': 'the name of the job',
             'image': 'the container image of the project',
             'workers': 'the number of pods that train',
             'workdir_claim': 'the PersistentVolumeClaim for the run folders'}
# The trainer's flags for folders in the volumes, and what a folder elsewhere
# leads to.
_FOLDERS = {'workdir': 'the run would be lost with the pod',
            'data_dir': 'pods would not find it'}


def training(values: flags.FlagValues,
             trainer_flags: Sequence[str]) -> pods.Training:
  """Returns the job that flags ask for.

  Args:
    values: the parsed flags of launch.kubernetes.
    trainer_flags: flags for resnet.train.

  Raises:
    UserError: a flag is missing or wrong, or the run would be lost.
  """
  for name, what in _REQUIRED.items():
    if values[name].value is None:
      raise UserError(f'--{name} is missing: give {what}.')
  _check('image', values.image, '[!-~]+', 'the name of an image')
  _check('cpus', values.cpus, _CPUS, 'a number of CPUs such as 8, 0.5 or 500m')
  _check('memory', values.memory, _MEMORY, 'a size such as 512Mi or 64Gi')
  _check_name(values)
  _check_restarts(values)
  trainer_command.check_utf8(trainer_flags)
  if values.kind == 'tfjob' and values.workers == 1:
    raise UserError('--kind=tfjob --workers=1 would not train, because the '
                    'operator sets no TF_CONFIG in a single pod: give '
                    '--kind=job or more workers.')
  volumes = _volumes(values)
  return pods.Training(
      name=values.name, image=values.image, workers=values.workers,
      gpus_per_worker=values.gpus_per_worker, cpus=values.cpus,
      memory=values.memory, volumes=volumes,
      workdir=_folders(volumes, trainer_flags)[0],
      node_selector=_node_selector(values.node_selector),
      user=values.user, max_restarts=values.max_restarts,
      grace_secs=values.grace_secs, trainer_flags=tuple(trainer_flags))


def _check(flag, value, pattern, allowed):
  if not re.fullmatch(pattern, value):
    raise UserError(f'--{flag}={value} is not allowed: give {allowed}.')


def _check_name(values):
  """Raises UserError unless every name derived from --name is a host name."""
  _check('name', values.name, _LABEL, 'a name made of a-z, 0-9 and - that '
         'starts with a letter and does not end with -')
  longest = objects.longest_name(values.kind, values.name, values.workers)
  if values.tensorboard:
    longest = max(longest, objects.tensorboard_name(values.name), key=len)
  surplus = len(longest) - _LONGEST
  if surplus > 0:
    raise UserError(
        f'--name={values.name} is too long, because Kubernetes allows '
        f'{_LONGEST} characters and would use {longest}: shorten it by '
        f'{surplus}.')


def _check_restarts(values):
  """Raises UserError if Kubernetes could not count the failures of pods."""
  if values.max_restarts * values.workers > _MOST_FAILURES:
    raise UserError(
        f'--max_restarts={values.max_restarts} with --workers={values.workers} '
        f'lets more than {_MOST_FAILURES} pods fail, the most that Kubernetes '
        f'counts: give at most {_MOST_FAILURES // values.workers} restarts.')


def _volumes(values):
  """Returns the claims with their mounts, the one for run folders first."""
  volumes = [pods.Volume('workdir', values.workdir_claim, values.workdir_mount)]
  if values.data_claim is not None:
    volumes.append(pods.Volume('data', values.data_claim, values.data_mount,
                               read_only=True))
  taken = set(pods.MOUNTS)
  for volume in volumes:
    _check(f'{volume.name}_claim', volume.claim, _SUBDOMAIN,
           'the name of a PersistentVolumeClaim (a-z, 0-9, - and .)')
    paths.check(volume.mount, f'--{volume.name}_mount')
    _check(f'{volume.name}_mount', volume.mount, _PATH, 'an absolute path')
    if volume.mount in taken:
      raise UserError(
          f'--{volume.name}_mount={volume.mount} is already in use: give each '
          f'claim its own folder, other than {" and ".join(pods.MOUNTS)}.')
    taken.add(volume.mount)
  return tuple(volumes)


def _folders(volumes, trainer_flags):
  """Returns the trainer's folders, one in each volume."""
  found = []
  for volume, (flag, harm) in zip(volumes, _FOLDERS.items()):
    path, _ = flag_words.take(flag, trainer_flags)
    if not path:
      raise UserError(
          f'--{flag} is missing after --: give a folder in {volume.mount}, '
          f'where the claim {volume.claim} is mounted.')
    if not f'{posixpath.normpath(path)}/'.startswith(f'{volume.mount}/'):
      raise UserError(
          f'--{flag}={path} is not in {volume.mount}, where the claim '
          f'{volume.claim} is mounted, so {harm}: give a folder in '
          f'{volume.mount}, or another --{volume.name}_mount before --.')
    found.append(path)
  for flag in _FOLDERS:
    path, _ = flag_words.take(flag, trainer_flags)
    if path is not None:
      paths.check(path, f'--{flag}')
  return found


def _node_selector(labels):
  for label in labels:
    _check('node_selector', label, _NODE_LABEL, 'key=value, the form of node '
           'labels')
  return dict(label.split('=') for label in labels)
