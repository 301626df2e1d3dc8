"""Which packages the services of --log_to need. No TensorFlow."""
from collections.abc import Sequence
import importlib.util

from configs.process.errors import UserError
from resnet.reporting.unavailable import Unavailable

# {service: (module, package)}. The extras of setup.cfg are named like services.
_PACKAGES = {
    'wandb': ('wandb', 'wandb'), 'mlflow': ('mlflow', 'mlflow-skinny')}


def check(services: Sequence[str]) -> None:
  """Checks that some services are known, and their packages installed.

  Raises:
    UserError: one is unknown.
    Unavailable: a package is missing.
  """
  if not set(services) <= set(_PACKAGES):
    raise UserError(
        f'log_to={services!r} is not allowed: give a tuple of some of '
        f'{", ".join(map(repr, _PACKAGES))}.')
  for service in services:
    module, package = _PACKAGES[service]
    if not importlib.util.find_spec(module):
      raise Unavailable(
          f'--log_to={service} needs {package}, which is not installed: run '
          f"`pip install -e '.[{service}]'` or `pip install {package}`, or "
          f'leave --log_to={service} out.')
