"""Writes what Kubernetes needs to train with several workers.

  python -m launch.kubernetes --name=r50 --image=IMAGE --workers=4 \\
      --gpus_per_worker=8 --workdir_claim=RUNS --data_claim=DATA \\
      -- --config=imagenet_resnet50 --workdir=/runs/r50 --data_dir=/data \\
      > r50.yaml
  kubectl apply -f r50.yaml

What stands after -- is for `python -m resnet.train`, which each worker runs
with --strategy=multi_worker_mirrored. The claims are PersistentVolumeClaims
that all pods can mount at once (ReadWriteMany), seen at /runs and /data. The
image is one of launch/Dockerfile.

--kind=job (Kubernetes 1.29 or later, nothing else) replaces a pod that is lost;
--kind=jobset (JobSet 0.10.1 or later; better where it is installed) replaces
all of them at once; --kind=tfjob is for clusters that have Kubeflow's training
operator, which starts nothing again after an exit code below 128.
launch/kubernetes/objects.py says what is done after which.

The same flags give the same text, on stdout, and nothing else is done: it is
its own dry run, and what to do next stands at its top. It was never applied to
a live cluster by those who wrote this: tests hold it against the published
schemas and run the Job's pods by the documented rules.

Exit codes: 0 done; 2 an error of the user's, in one sentence.
"""
import re
import sys

from absl import flags
import yaml

from configs.process import command_line
from launch import trainer_command
from launch.kubernetes import checks, objects, pods


def parse(argv):
  """Defines and reads the flags; returns the trainer's, which follow --."""
  flags.DEFINE_string('name', None, 'Of the job; other names begin with it.')
  flags.DEFINE_string('image', None, 'Container image, in which `python -m '
                      'resnet.train` runs.')
  flags.DEFINE_enum('kind', objects.KINDS[0], objects.KINDS, 'What starts pods '
                    'again; jobset and tfjob must be installed in the cluster.')
  flags.DEFINE_integer('workers', None, 'Pods.', lower_bound=1)
  flags.DEFINE_integer('gpus_per_worker', 0, 'GPUs for each; 0: the CPU.',
                       lower_bound=0)
  flags.DEFINE_string('cpus', '4', 'CPUs for each: 8, 0.5 or 500m.')
  flags.DEFINE_string('memory', '16Gi', 'Memory for each: 512Mi, 64Gi.')
  flags.DEFINE_string('workdir_claim', None, 'PersistentVolumeClaim of runs.')
  flags.DEFINE_string('workdir_mount', '/runs', 'Where pods see it.')
  flags.DEFINE_string('data_claim', None, 'PersistentVolumeClaim of data sets, '
                      'which is only read; none: they are elsewhere.')
  flags.DEFINE_string('data_mount', '/data', 'Where pods see it.')
  flags.DEFINE_list('node_selector', [], 'Labels of the nodes to run on: '
                    'key=value,key=value.')
  flags.DEFINE_integer('user', 1000, 'Number of the user and group that pods '
                       'run as; the claims must be theirs to write.',
                       lower_bound=1)
  flags.DEFINE_integer('max_restarts', 3, 'Failures after which the workers '
                       'are started again. Preemptions and exit code 143 (a '
                       'worker saved and asks for it) are not counted.',
                       lower_bound=0)
  flags.DEFINE_integer('grace_seconds', 60, 'Seconds for pods that are told to '
                       'end, to save.', lower_bound=1)
  flags.DEFINE_bool('tensorboard', True, 'Show the run by TensorBoard, within '
                    'the cluster.')
  return trainer_command.parse(
      argv, '--config=imagenet_resnet50 --workdir=/runs/r50')


def main(trainer_flags):
  """Prints the manifest; returns the exit code."""
  kind, show = flags.FLAGS.kind, flags.FLAGS.tensorboard
  training = checks.training(flags.FLAGS, trainer_flags)
  found = objects.of_kind(kind, training)
  if show:
    found += objects.tensorboard(training)
  sys.stdout.write(_comment(kind, show, training) + _yaml(found))
  return command_line.DONE


def _comment(kind, show, training):
  """What to do with the manifest."""
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
      f'The run lies on the claim {training.volumes[0].claim} and stays when '
      'all this is deleted:',
      'started again, it goes on from its last checkpoint. A job cannot be',
      'changed: stop it first.', '',
      'Whoever reaches the port of a worker commands it. The NetworkPolicy',
      'keeps all but the workers out, if the network plugin of the cluster',
      'heeds it.']
  return ''.join(f'# {line}'.rstrip() + '\n' for line in lines)


class _Dumper(yaml.SafeDumper):
  """Writes YAML that older and newer versions of YAML read alike."""

  def ignore_aliases(self, data):
    return True


def _represent_text(dumper, text):
  # To PyYAML 1e3, 0o17 and y are texts, to other readers numbers and `true`.
  style = '"' if re.match(r'[-+.\d]|[yn]$', text, re.IGNORECASE) else None
  return dumper.represent_scalar('tag:yaml.org,2002:str', text, style=style)


_Dumper.add_representer(str, _represent_text)


def _yaml(found):
  return yaml.dump_all(found, Dumper=_Dumper, sort_keys=False,
                       explicit_start=True, width=2**20)


def run():
  """What the installed command calls."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
