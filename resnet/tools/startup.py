"""How long a process takes from its start to the end of its first step."""
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from configs import schema
from configs.process import python_module
from pipelines.options import Reading
from resnet.run import summaries
from resnet.tools import recipe_file
from resnet.tools.plain_step import Images

_PLAIN = """import json, sys, time
from configs import schema
from configs.process import tensorflow_process
with tensorflow_process.starting():
  import tensorflow as tf
  from resnet.tools import plain_step
config, images = json.loads(sys.argv[1])
plain_step.make(
    schema.from_dict(config), tf.distribute.get_strategy(),
    plain_step.Images(*images), 'false', keras_batch_norm=True).run(1)
print(time.time())
"""


def measure_plain(config: schema.Config, images: Images) -> float:
  """Makes one plain Keras step in a process of its own, without XLA.

  Args:
    config: what to train.
    images: what the network is built for.

  Returns:
    Seconds from the start of the process to the end of its first step.

  Raises:
    subprocess.CalledProcessError: the process failed.
  """
  started = time.time()
  done = subprocess.run(
      [sys.executable, '-P', '-c', _PLAIN,
       json.dumps([schema.to_dict(config), images])],
      env=python_module.environment(os.environ), check=True,
      capture_output=True, text=True, encoding='utf-8')
  return float(done.stdout) - started


def measure(config: schema.Config, reading: Reading, jit: str,
            cache_folder: str) -> float:
  """Trains one step in a process of its own, with `python -m resnet.train`.

  Args:
    config: what to train.
    reading: how to read the data set.
    jit: the value of --jit.
    cache_folder: where the process caches what it compiles, for the next call.

  Returns:
    Seconds from the start of the process to the end of its first step.

  Raises:
    subprocess.CalledProcessError: the process failed.
  """
  config = dataclasses.replace(
      config, train_epochs=0.0, train_steps=1,
      schedule=dataclasses.replace(config.schedule, warmup_epochs=0.0))
  environ = {name: value for name, value in os.environ.items()
             if name != 'TF_XLA_FLAGS'}  # It names another cache.
  environ['XDG_CACHE_HOME'] = cache_folder
  with tempfile.TemporaryDirectory() as folder:
    recipe = pathlib.Path(folder, 'recipe.py')
    recipe_file.write(recipe, config)
    words = [f'--config={recipe}', f'--jit={jit}', f'--workdir={folder}/run',
             f'--memory_gib={reading.memory_gib}']
    if reading.data_dir:
      words.append(f'--data_dir={reading.data_dir}')
    started = time.time()
    subprocess.run([*python_module.command('resnet.train'), *words],
                   env=python_module.environment(environ), check=True,
                   capture_output=True)
    first, *_ = summaries.read(pathlib.Path(folder, 'run', 'metrics.jsonl'))
  return first['time'] - started
