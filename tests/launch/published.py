"""What is published of Kubernetes and its operators for programs to read.

The schemas of Kubernetes find unknown fields and wrong types; so does a round
trip through the official Python models, for what is not of Kubernetes itself.
Neither knows which words a field may have.
"""
import functools
import json
from types import SimpleNamespace

from kubeflow import training as kubeflow_training
from kubeflow_trainer_api import models as trainer_models
from kubernetes import client
import kubernetes_validate

_VERSIONS = ('1.29', '1.37')  # The oldest that is promised, and the newest.


@functools.cache
def problems(text):
  """List of sentences on what is wrong with an object, given as JSON."""
  one, found = json.loads(text), []
  for version in () if one['kind'] in ('JobSet', 'TFJob') else _VERSIONS:
    try:
      kubernetes_validate.validate(one, version, strict=True)
    except kubernetes_validate.ValidationError as error:
      found.append(f'{one["kind"]} of Kubernetes {version}: {error.message}')
  try:
    if _there_and_back(one) != one:
      found.append(f'The model of {one["kind"]} does not hold all of it')
  except (ValueError, TypeError) as error:
    found.append(f'The model of {one["kind"]}: {error}')
  return found


def _there_and_back(one):
  if one['kind'] == 'JobSet':
    return trainer_models.JobsetV1alpha2JobSet.from_dict(one).to_dict()
  api, model = (
      (kubeflow_training.ApiClient(), 'KubeflowOrgV1TFJob')
      if one['kind'] == 'TFJob' else (client.ApiClient(), f'V1{one["kind"]}'))
  parsed = api.deserialize(SimpleNamespace(data=json.dumps(one)), model)
  return api.sanitize_for_serialization(parsed)
