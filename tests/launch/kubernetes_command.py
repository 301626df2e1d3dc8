"""Runs `python -m launch.kubernetes` as its users do."""
import copy
import functools
import pathlib
import subprocess
import sys

import yaml

ROOT = pathlib.Path(__file__).parents[2]
NEEDED = ('--name=r50', '--image=registry.example/resnet:1', '--workers=4',
          '--workdir_claim=runs')
TRAINER = ('--config=imagenet_resnet50', '--workdir=/runs/r50')


@functools.cache
def run(*argv):
  """Runs it with some flags; returns (exit code, stdout, stderr)."""
  done = subprocess.run(
      [sys.executable, '-m', 'launch.kubernetes', *argv], cwd=ROOT, text=True,
      capture_output=True, check=False, timeout=60)
  return done.returncode, done.stdout, done.stderr


def render(*flags, trainer=TRAINER):
  """Runs it with the required flags and others."""
  return run(*NEEDED, *flags, '--', *trainer)


def objects(*flags, trainer=TRAINER):
  """Returns the parsed objects of `render`; they may be changed."""
  return copy.deepcopy(_parsed(flags, trainer))


@functools.cache
def _parsed(flags, trainer):
  code, out, err = render(*flags, trainer=trainer)
  assert (code, err) == (0, '')
  return list(yaml.safe_load_all(out))
