"""Writes the Kubernetes manifest of a training job with several workers.

  python -m launch.kubernetes --name=r50 --image=IMAGE --workers=4 \\
      --gpus_per_worker=8 --workdir_claim=RUNS --data_claim=DATA \\
      -- --config=imagenet_resnet50 --workdir=/runs/r50 --data_dir=/data \\
      > r50.yaml
  kubectl apply -f r50.yaml

Each worker runs `python -m resnet.train` with --strategy=multi_worker_mirrored
and the flags that follow --. The claims are PersistentVolumeClaims that all
pods can mount at once (ReadWriteMany); pods see them at /runs and /data. The
image is built from launch/Dockerfile.

--kind=job (needs only Kubernetes 1.29 or later) replaces a pod that is lost.
--kind=jobset (needs JobSet 0.10.1 or later; the better choice where that is
installed) replaces all pods at once. --kind=tfjob is for clusters with
Kubeflow's training operator, which restarts nothing after an exit code below
128. launch/kubernetes/objects.py says what happens after which exit code.

The manifest goes to stdout and nothing else happens, so no dry run is needed.
The same flags always give the same text; its first lines say what to do next.
It has not been applied to a live cluster: tests validate it against the
published schemas and run the Job's pods by the documented rules.

Exit codes: 0 done; 2 a user error, explained in one sentence.
"""
import re
import sys

from absl import flags
import yaml

from configs.process import command_line
from launch import trainer_command
from launch.cluster import contract
from launch.kubernetes import checks, objects, pods


def parse(argv: list[str]) -> list[str]:
  """Defines and reads the flags; returns the trainer's, which follow --."""
  flags.DEFINE_string('name', None, 'Name of the job, and the start of the '
                      'names of its objects.')
  flags.DEFINE_string('image', None, 'Container image, in which `python -m '
                      'resnet.train` runs.')
  flags.DEFINE_enum('kind', objects.KINDS[0], objects.KINDS, 'What restarts '
                    'pods. jobset and tfjob must be installed in the cluster.')
  flags.DEFINE_integer('workers', None, 'Number of pods that train.',
                       lower_bound=1, upper_bound=contract.MOST_WORKERS)
  flags.DEFINE_integer('gpus_per_worker', 0, 'GPUs of each worker. 0: train on '
                       'the CPU.', lower_bound=0,
                       upper_bound=contract.MOST_GPUS)
  flags.DEFINE_string('cpus', '4', 'CPUs of each worker: 8, 0.5 or 500m.')
  flags.DEFINE_string('memory', '16Gi', 'Memory of each worker: 512Mi or 64Gi.')
  flags.DEFINE_string('workdir_claim', None, 'PersistentVolumeClaim for the '
                      'run folders.')
  flags.DEFINE_string('workdir_mount', '/runs', 'Where pods mount '
                      '--workdir_claim.')
  flags.DEFINE_string('data_claim', None, 'PersistentVolumeClaim with the data '
                      'sets, mounted read-only. Default: no claim.')
  flags.DEFINE_string('data_mount', '/data', 'Where pods mount '
                      '--data_claim.')
  flags.DEFINE_list('node_selector', [], 'Labels of the nodes to run on: '
                    'key=value,key=value.')
  flags.DEFINE_integer('user', 1000, 'Number of the user and group that pods '
                       'run as. It must be able to write to --workdir_claim.',
                       lower_bound=1)
  flags.DEFINE_integer('max_restarts', 3, 'How many failures the job survives '
                       'by restarting. Preemptions and exit code 143 (saved, '
                       'restart me) do not count as failures. Trainers that '
                       'have saved nothing since they started exit with 1 '
                       'instead of 143.', lower_bound=0)
  flags.DEFINE_integer('grace_secs', 60, 'Seconds that pods have to save when '
                       'they are told to stop.', lower_bound=1)
  flags.DEFINE_bool('tensorboard', True, 'Whether to run TensorBoard for this '
                    'job, reachable from within the cluster.')
  return trainer_command.parse(
      argv, '--config=imagenet_resnet50 --workdir=/runs/r50')


def main(trainer_flags: list[str]) -> int:
  """Prints the manifest; returns the exit code."""
  kind, show = flags.FLAGS.kind, flags.FLAGS.tensorboard
  training = checks.training(flags.FLAGS, trainer_flags)
  found = objects.of_kind(kind, training)
  if show:
    found += objects.tensorboard(training)
  sys.stdout.write(_comment(kind, show, training) + _yaml(found))
  return command_line.DONE


def _comment(kind: str, show: bool, training: pods.Training) -> str:
  """Returns the first lines of the manifest: what to do with it."""
  name = training.name
  selector = f'-l app.kubernetes.io/instance={name}'
  chief = ('training.kubeflow.org/replica-index' if kind == 'tfjob'
           else 'batch.kubernetes.io/job-completion-index')
  port = pods.TENSORBOARD_PORT
  tensorboard = [
      ('TensorBoard', 'kubectl port-forward '
       f'service/{objects.tensorboard_name(name)} {port}'),
      ('', f'and open http://localhost:{port}')]
  steps = [
      ('start', 'kubectl apply -f THIS_FILE'),
      ('watch', f'kubectl get pods {selector} --watch'),
      ('why it ended', f'kubectl describe {kind} {name}'),
      ('log', f'kubectl logs -f --tail=-1 {selector},{chief}=0'),
      *(tensorboard if show else ()),
      ('stop', f'kubectl delete {kind},deployment,service,networkpolicy '
       f'{selector}')]
  lines = [
      f'{name}: --kind={kind} --workers={training.workers} '
      f'--gpus_per_worker={training.gpus_per_worker}', '',
      *(f'  {what:<13} {command}' for what, command in steps), '',
      'Stopping keeps the run, which is stored on the claim '
      f'{training.volumes[0].claim}: apply',
      'this file again to continue from the last checkpoint. A job cannot be',
      'changed while it exists: stop it first.', '',
      "Anyone who can connect to a worker's port controls the worker. The",
      'NetworkPolicy lets only the workers connect, if the network plugin of',
      'the cluster enforces it.']
  return ''.join(f'# {line}'.rstrip() + '\n' for line in lines)


class _Dumper(yaml.SafeDumper):
  """Writes YAML that means the same to YAML 1.1 and YAML 1.2."""

  def ignore_aliases(self, data):
    return True


def _represent_text(dumper, text):
  # PyYAML takes 1e3, 0o17 and y for texts, other readers for numbers or `true`.
  style = '"' if re.match(r'[-+.\d]|[yn]$', text, re.IGNORECASE) else None
  return dumper.represent_scalar('tag:yaml.org,2002:str', text, style=style)


_Dumper.add_representer(str, _represent_text)


def _yaml(found: list[pods.Object]) -> str:
  return yaml.dump_all(found, Dumper=_Dumper, sort_keys=False,
                       explicit_start=True, width=2**20)


def run() -> None:
  """Runs the installed command."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
