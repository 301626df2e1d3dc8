"""The manifests that `python -m launch.kubernetes` writes."""
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from tests.launch import kubernetes_command as command
from tests.launch import manifests

_GPUS = ('--gpus_per_worker=8', '--data_claim=pictures',
         '--node_selector=gpu=a100,zone=', '--cpus=0.5', '--memory=1.5Ti')
_MIXED = ('--workers=2', '--workdir_mount=/a/b', '--max_restarts=0', '--user=7',
          '--grace_secs=120', '--notensorboard')


@pytest.mark.parametrize('flags, trainer', [
    ((), command.TRAINER), (_MIXED, ('--workdir=/a/b',)),
    (_GPUS, (*command.TRAINER, '--data_dir=/data/tfds'))])
@pytest.mark.parametrize('kind', ['job', 'jobset', 'tfjob'])
def test_kubernetes_accepts_manifests_that_give_workers_what_they_need(
    kind, flags, trainer):
  objects = command.objects(f'--kind={kind}', *flags, trainer=trainer)
  assert not list(manifests.problems(objects))


@pytest.mark.parametrize('kind', ['job', 'jobset'])
def test_one_worker_is_enough(kind):
  objects = command.objects(f'--kind={kind}', '--workers=1')
  assert not list(manifests.problems(objects))


def _worker(*flags, trainer=command.TRAINER):
  """Returns (spec of the workers' pods, their container)."""
  objects = command.objects(*flags, trainer=trainer)
  spec = manifests.template(manifests.trainer(objects))['spec']
  return spec, spec['containers'][0]


@pytest.mark.parametrize('kind', ['job', 'jobset', 'tfjob'])
def test_flags_reach_the_workers(kind):
  assert manifests.count(manifests.trainer(
      command.objects(f'--kind={kind}'))) == 4
  spec, container = _worker(
      f'--kind={kind}', *_GPUS, '--user=7', '--grace_secs=90',
      trainer=(*command.TRAINER, '--data_dir=/data', '--a b', '$(HOME)$'))
  assert container['image'] == 'registry.example/resnet:1'
  assert container['command'] == [
      'python', '-P', '-m', 'resnet.train', '--strategy=multi_worker_mirrored',
      '--config=imagenet_resnet50', '--workdir=/runs/r50', '--data_dir=/data',
      '--a b', '$$(HOME)$$']
  hosts = {'job': 'r50-{index}', 'jobset': 'r50-worker-0-{index}'}
  assert {one['name']: one['value'] for one in container['env']} == {
      'HOME': '/tmp', 'PYTHONUNBUFFERED': '1',
      'RESNET_FAIL_WITHOUT_PROGRESS': '1',
      'XDG_CACHE_HOME': '/runs/.cache', 'OMP_NUM_THREADS': '1',
      'TF_NUM_INTEROP_THREADS': '1', 'TF_NUM_INTRAOP_THREADS': '1',
      **({} if kind == 'tfjob' else {
          'RESNET_NUM_WORKERS': '4',
          'RESNET_WORKER_HOST_PATTERN': f'{hosts[kind]}.r50:2222'})}
  assert container['resources'] == {
      'requests': {'cpu': '0.5', 'memory': '1.5Ti'},
      'limits': {'memory': '1.5Ti', 'nvidia.com/gpu': '8'}}
  assert [mount['mountPath'] for mount in container['volumeMounts']] == [
      '/runs', '/data', '/tmp', '/dev/shm']
  claims = [one['persistentVolumeClaim'] for one in spec['volumes'][:2]]
  assert claims == [
      {'claimName': 'runs', 'readOnly': False},
      {'claimName': 'pictures', 'readOnly': True}]
  assert spec['nodeSelector'] == {'gpu': 'a100', 'zone': ''}
  assert spec['tolerations'] == [{
      'key': 'nvidia.com/gpu', 'operator': 'Exists', 'effect': 'NoSchedule'}]
  assert spec['terminationGracePeriodSeconds'] == 90
  assert {spec['securityContext'][name] for name in (
      'runAsUser', 'runAsGroup', 'fsGroup')} == {7}


@pytest.mark.parametrize('cpus, threads', [
    ('8', '8'), ('1.5', '2'), ('500m', '1'), ('2000m', '2'), ('2001m', '3')])
def test_there_are_as_many_threads_as_cpus(cpus, threads):
  _, container = _worker(f'--cpus={cpus}')
  assert [one['value'] for one in container['env']
          if 'THREADS' in one['name']] == [threads] * 3


def test_without_gpus_none_are_requested():
  spec, container = _worker()
  assert 'tolerations' not in spec and 'nodeSelector' not in spec
  assert container['resources']['limits'] == {'memory': '16Gi'}


@pytest.mark.parametrize('kind', ['job', 'jobset', 'tfjob'])
def test_two_workers_of_four_gpus_fit_on_a_node_of_eight(kind):
  """Each pod gets GPUs of its own from the node's device plugin, which sets
  what its processes see. Nothing here may override that, or keep two pods off
  one node.
  """
  objects = command.objects(f'--kind={kind}', '--workers=2',
                            '--gpus_per_worker=4')
  assert not list(manifests.problems(objects))
  assert manifests.count(manifests.trainer(objects)) == 2
  spec = manifests.template(manifests.trainer(objects))['spec']
  container, = spec['containers']
  # A limit alone counts as a request, too: of GPUs the two must be equal.
  assert container['resources']['limits']['nvidia.com/gpu'] == '4'
  assert 'nvidia.com/gpu' not in container['resources']['requests']
  assert not [one['name'] for one in container['env']
              if one['name'].endswith('VISIBLE_DEVICES')]
  assert not {'affinity', 'topologySpreadConstraints', 'hostNetwork',
              'nodeName'} & set(spec)
  assert all('hostPort' not in port for port in container['ports'])
  assert not any(one.startswith('--devices') for one in container['command'])


@pytest.mark.parametrize('kind, path, limit', [
    # A Job counts pods, and in one failure all four may fail.
    ('job', 'backoffLimit', 8), ('jobset', 'failurePolicy.maxRestarts', 2),
    ('tfjob', 'runPolicy.backoffLimit', 8)])
def test_restarts_are_limited(kind, path, limit):
  objects = command.objects(f'--kind={kind}', '--max_restarts=2')
  found = manifests.trainer(objects)['spec']
  for name in path.split('.'):
    found = found[name]
  assert found == limit


def test_tensorboard_shows_the_run():
  shown, = [one for one in command.objects() if one['kind'] == 'Deployment']
  assert shown['spec']['replicas'] == 1
  container, = manifests.template(shown)['spec']['containers']
  assert container['command'] == [
      'python', '-P', '-m', 'tensorboard.main', '--logdir=/runs/r50',
      '--bind_all', '--port=6006']
  assert [mount['mountPath'] for mount in container['volumeMounts']] == [
      '/runs', '/tmp']


def test_each_kind_of_job_consists_of_its_objects():
  def kinds(*flags):
    return [one['kind'] for one in command.objects(*flags)]
  show = ['Deployment', 'Service']
  assert kinds() == ['NetworkPolicy', 'Service', 'Job', *show]
  assert kinds('--notensorboard') == ['NetworkPolicy', 'Service', 'Job']
  assert kinds('--kind=jobset') == ['NetworkPolicy', 'JobSet', *show]
  assert kinds('--kind=tfjob') == ['NetworkPolicy', 'TFJob', *show]


def test_the_same_flags_give_the_same_text():
  texts = [subprocess.run(
      [sys.executable, '-m', 'launch.kubernetes', *command.NEEDED, '--',
       *command.TRAINER], cwd=command.ROOT,
      env={**os.environ, 'PYTHONHASHSEED': seed},
      capture_output=True, check=True, timeout=60).stdout for seed in '12']
  assert texts[0] == texts[1]


def test_the_text_is_readable():
  """Every object first says what it is, a flag is one line, and nothing refers
  to an alias.
  """
  long = '--config.data.name=' + 'a b ' * 40 + 'c'
  _, out, _ = command.render(trainer=(*command.TRAINER, long))
  assert f'- "{long}"\n' in out
  _, out, _ = command.render()
  assert '- name: trainer\n        image: registry' in out
  _, *texts = out.split('\n---\n')
  for text, one in zip(texts, command.objects(), strict=True):
    assert text.startswith(
        f'apiVersion: {one["apiVersion"]}\nkind: {one["kind"]}\n')
    assert not re.search(r'[&*]id\d', text)


_NEXT = """\
# r50: --kind={kind} --workers=4 --gpus_per_worker=0
#
#   start         kubectl apply -f THIS_FILE
#   watch         kubectl get pods -l app.kubernetes.io/instance=r50 --watch
#   why it ended  kubectl describe {kind} r50
#   log           kubectl logs -f --tail=-1 \
-l app.kubernetes.io/instance=r50,{index}=0
#   TensorBoard   kubectl port-forward service/r50-tensorboard 6006
#                 and open http://localhost:6006
#   stop          kubectl delete {kind},deployment,service,networkpolicy \
-l app.kubernetes.io/instance=r50
#
# Stopping keeps the run, which is stored on the claim runs: apply
# this file again to continue from the last checkpoint. A job cannot be
# changed while it exists: stop it first.
#
# Anyone who can connect to a worker's port controls the worker. The
# NetworkPolicy lets only the workers connect, if the network plugin of
# the cluster enforces it.
---
"""


@pytest.mark.parametrize('kind, index', [
    ('job', 'batch.kubernetes.io/job-completion-index'),
    ('jobset', 'batch.kubernetes.io/job-completion-index'),
    ('tfjob', 'training.kubeflow.org/replica-index')])
def test_the_first_lines_say_what_to_do_next(kind, index):
  _, out, _ = command.render(f'--kind={kind}')
  assert out.startswith(_NEXT.format(kind=kind, index=index))
  _, out, _ = command.render(f'--kind={kind}', '--notensorboard')
  assert 'port-forward' not in out and '6006' not in out


_TEXTS = ['1e3', '0o17', '1_000', '.5', '+1', '-1', '12:30', '2026-01-01',
          'y', 'N', 'yes', 'null', '~', 'true', 'a: b', '# a', '', 'ä', '\t\n',
          "it's", '"', '{}', '*a', '&a', '!a', '%a', '@a', '`a', '| a', 'a\nb']


def _with_texts():
  """Returns (a manifest whose command holds the texts, that command)."""
  trainer = (*command.TRAINER, *_TEXTS)
  _, out, _ = command.render(trainer=trainer)
  return out, _worker(trainer=trainer)[1]['command']


def test_texts_stay_texts():
  out, found = _with_texts()
  assert found[-len(_TEXTS):] == _TEXTS
  for text in _TEXTS[:10]:  # Some version of YAML reads another type.
    assert f'- "{text}"\n' in out


def test_texts_stay_texts_in_kubectl(tmp_path):
  kubectl = shutil.which('kubectl')
  if not kubectl:
    pytest.skip('There is no kubectl to read the manifest.')
  out, found = _with_texts()
  (tmp_path / 'job.yaml').write_text(out)
  (tmp_path / 'kustomization.yaml').write_text('resources: [job.yaml]')
  read = subprocess.run([kubectl, 'kustomize', tmp_path], check=True, text=True,
                        capture_output=True, timeout=60).stdout
  again = manifests.trainer(list(yaml.safe_load_all(read)))
  container, = manifests.template(again)['spec']['containers']
  assert container['command'] == found


def test_no_tensorflow_is_imported(tmp_path):
  (tmp_path / 'tensorflow.py').write_text('raise SystemExit("imported")')
  done = subprocess.run(
      [sys.executable, '-m', 'launch.kubernetes', *command.NEEDED, '--',
       *command.TRAINER], cwd=command.ROOT,
      env={**os.environ, 'PYTHONPATH': f'{tmp_path}'},
      capture_output=True, text=True, check=False, timeout=60)
  assert (done.returncode, done.stderr) == (0, '')
