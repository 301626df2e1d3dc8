"""What TensorBoard shows of a run, by its own reader and its own server."""
import contextlib
import functools
import io
import json
import re
import signal
import subprocess
import sys
import time
import types
import urllib.parse
import urllib.request

import PIL.Image
import pytest
from tensorboard import context
from tensorboard.backend.event_processing import (
  data_provider,
  plugin_event_multiplexer,
)
from tensorboard.plugins import base_plugin
from tensorboard.plugins.custom_scalar import custom_scalars_plugin
from tensorboard.util import tensor_util

from configs import schema
from resnet import network
from resnet.run import source_commit, summaries
from resnet.run.events import graph, layout, start, tags
from tests import processes
from tests.resnet import hparams_tab, strategies

_CONFIG = schema.Config(
    model=schema.Model(depth=8, width=4), train_steps=40, global_batch=16)
_DATA = {'classes': ['zero', 'one', 'two']}


def _network(config=_CONFIG):
  return network.build_model(config, (8, 8, 1), 3)


def _begin(folder, config=_CONFIG, **changes):
  """Writes what a run writes when it begins; returns what stands for it."""
  run = types.SimpleNamespace(
      config=config, step=0, model=_network(config),
      written=summaries.Summaries(folder, 0),
      folder=types.SimpleNamespace(path=folder, before=None),
      group=types.SimpleNamespace(count=1, strategy=strategies.on_cpus(1)))
  vars(run).update(changes)
  start.write(run, _DATA, None, {'cpu': 'a | b', 'threads': '2'})
  return run


class _Shown:
  """What TensorBoard has read of a folder."""

  def __init__(self, folder):
    self.reader = plugin_event_multiplexer.EventMultiplexer(
        tensor_size_guidance={'text': 0})
    self.reader.AddRunsFromDirectory(str(folder))
    self.reader.Reload()
    self._folder = str(folder)

  def texts(self, tag):
    """[(step, text)] of a tag of the training."""
    return [(event.step, tensor_util.make_ndarray(
        event.tensor_proto).item().decode())
            for event in self.reader.Tensors('train', tag)]

  def charts(self):
    """{category: {title: [regular expression]}} of the Custom Scalars tab."""
    provider = data_provider.MultiplexerDataProvider(self.reader, self._folder)
    plugin = custom_scalars_plugin.CustomScalarsPlugin(
        base_plugin.TBContext(data_provider=provider))
    return _charts(json.loads(plugin.layout_impl(
        context.RequestContext(), 'id')))


def _charts(shown):
  return {category['title']: {
      chart['title']: chart['multiline']['tag'] for chart in category['chart']}
          for category in shown['category']}


def test_a_run_says_what_it_is(tmp_path, monkeypatch):
  monkeypatch.setattr(sys, 'argv', ['train.py', '--workdir=/a b'])
  _begin(tmp_path).written.close()
  shown = _Shown(tmp_path)
  (step, text), = shown.texts('run/about')
  rows = dict(line.removeprefix('- **').split('**: ', 1)
              for line in text.splitlines())
  assert step == 0
  assert rows['command'] == "`train.py '--workdir=/a b'`"
  assert rows['cpu'] == 'a | b' and rows['threads'] == '2'
  assert rows['devices of each'] == 'CPU:0' and rows['workers'] == '1'
  assert rows['tensorflow'].startswith('2.') and rows['git commit']
  (step, text), = shown.texts('run/config')
  assert step == 0 and json.loads(text.strip('`\n')) == schema.to_dict(_CONFIG)
  (group,) = hparams_tab.Tab(tmp_path).groups
  settings = hparams_tab.settings(group)
  assert settings['run'] == tmp_path.name and settings['train_steps'] == 40


def test_a_run_that_begins_again_is_shown_once(tmp_path):
  """It was killed before its first checkpoint."""
  _begin(tmp_path).written.close()
  _begin(tmp_path).written.close()
  shown = _Shown(tmp_path)
  for tag in ('run/about', 'run/config'):
    assert [step for step, _ in shown.texts(tag)] == [0], tag
  assert shown.charts().keys() == tags.GROUPS.keys()
  assert len(shown.reader.Graph('train').node) == len(_network().layers)


def test_a_restart_with_changes_is_shown_at_its_step(tmp_path):
  run = _begin(tmp_path)
  run.written.close()
  run.step, run.written = 20, summaries.Summaries(tmp_path, 20)
  start.write_restart(run, ['on 2 devices\nnow', 'threads: 2 -> 4'])
  run.written.close()
  run.written = summaries.Summaries(tmp_path, 20)  # Nothing has changed.
  run.written.close()
  assert _Shown(tmp_path).texts('run/restarts') == [
      (20, '- on 2 devices now\n- threads: 2 -> 4')]
  assert [step for step, _ in _Shown(tmp_path).texts('run/config')] == [0]


def test_a_run_that_trains_on_has_both_configs(tmp_path):
  run = _begin(tmp_path)
  run.step, run.folder.before = 40, _CONFIG
  run.config = schema.from_dict({**schema.to_dict(_CONFIG), 'train_steps': 60})
  start.write_restart(run, ['config.train_steps: 40 -> 60'])
  run.written.close()
  found = [(step, json.loads(text.strip('`\n'))['train_steps'])
           for step, text in _Shown(tmp_path).texts('run/config')]
  assert found == [(0, 40), (40, 60)]


def test_the_first_page_has_the_charts_that_the_run_has_lines_for(tmp_path):
  _begin(tmp_path).written.close()
  charts = _Shown(tmp_path).charts()
  assert list(charts) == ['quality', 'optimizer', 'speed', 'system']
  assert charts['quality'] == {
      'loss': ['^quality/loss$'], 'accuracy': ['^quality/accuracy$']}
  assert 'loss scale' not in charts['optimizer']
  assert len(charts['optimizer']) == 4 and len(charts['system']) == 2
  assert charts['speed']['milliseconds per step: median, 99th percentile'] == [
      '^speed/step_milliseconds_median$', '^speed/step_milliseconds_p99$']


def test_the_first_page_shows_what_is_special(tmp_path):
  shown = layout.summary(
      [layout.ON_GPUS, layout.FLOAT16, layout.AVERAGED, layout.TOP5],
      ['margin'])
  written = summaries.Summaries(tmp_path, 0)
  written.write_summary('train', 0, shown)
  written.close()
  charts = _Shown(tmp_path).charts()
  assert list(charts['quality']) == [
      'loss', 'accuracy', 'top-5 accuracy', 'margin']
  assert charts['optimizer']['loss scale'] == ['^optimizer/loss_scale$']
  assert 'distance of the averaged weights' in charts['optimizer']
  assert 'memory of the devices in GiB' in charts['system']


def test_every_chart_is_of_a_figure_that_has_its_group():
  for group, _, names, _ in layout._CHARTS:
    assert set(names) <= set(tags.GROUPS[group])


def test_the_graph_is_the_network():
  found = {node.name: node for node in graph.of(_network()).node}
  assert len(found) == len(_network().layers)
  block = found['stage1/block1/add']
  assert (block.op, sorted(block.input)) == (
      'Add', ['stage1/block1/bn2', 'stem/relu'])
  assert found['stem/conv'].input == ['image']
  # 3 x 3 x 1 -> 4 channels; 8 x 8 pixels.
  assert found['stem/conv'].attr['weights'].i == 36
  shape, = found['stem/conv'].attr['_output_shapes'].list.shape
  assert [dim.size for dim in shape.dim] == [-1, 8, 8, 4]


def test_a_network_without_layers_in_order_has_no_graph():
  import keras

  class Own(keras.Model):
    """It does not say what its call does."""

  assert not graph.of(Own()).node


def _git(folder, *arguments):
  subprocess.run(
      ['git', '-c', 'user.name=a', '-c', 'user.email=a@b', *arguments],
      cwd=folder, check=True, capture_output=True)


def test_the_commit_of_a_checkout_is_known(tmp_path):
  assert source_commit.of(tmp_path) is None  # No checkout.
  _git(tmp_path, 'init')
  assert source_commit.of(tmp_path) is None  # No commit.
  (tmp_path / 'a').touch()
  _git(tmp_path, 'add', 'a')
  _git(tmp_path, 'commit', '-m', 'a')
  _git(tmp_path, 'tag', 'v1')
  head = (tmp_path / '.git/refs/heads').iterdir()
  commit = next(head).read_text().strip()
  assert source_commit.of(tmp_path) == commit and len(commit) == 40
  with (tmp_path / 'a').open('w') as file:
    file.write('changed')
  assert source_commit.of(tmp_path) == f'{commit}-dirty'
  (tmp_path / 'below').mkdir()
  assert source_commit.of(tmp_path / 'below') is None  # Another's checkout.


def test_without_git_the_commit_is_not_known(tmp_path, monkeypatch):
  (tmp_path / '.git').mkdir()
  monkeypatch.setenv('PATH', '')
  assert source_commit.of(tmp_path) is None


_FLAGS = (
    '--config.model.width=4', '--config.global_batch=16',
    '--config.train_epochs=0', '--config.train_steps=40',
    '--config.schedule.warmup_epochs=0.05', '--config.ema.decay=0.9',
    '--log_every_steps=5', '--eval_every_steps=10', '--save_every_steps=10',
    '--save_every_secs=0', '--histograms_every_steps=10')


@contextlib.contextmanager
def _server(folder):
  """Yields a function that asks the server of a folder for a path."""
  process = subprocess.Popen(
      [sys.executable, '-m', 'tensorboard.main', f'--logdir={folder}',
       '--host=127.0.0.1', '--port=0'],
      stderr=subprocess.PIPE, text=True)
  opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
  try:
    assert process.stderr
    address = next(match[0] for line in process.stderr if (
        match := re.search(r'http://127\.0\.0\.1:\d+/', line)))

    def ask(path, **query):
      url = f'{address}data/{path}?{urllib.parse.urlencode(query)}'
      with opener.open(url, timeout=60) as answer:
        content = answer.read()
        return (json.loads(content)
                if 'json' in answer.headers['Content-Type'] else content)

    until = time.monotonic() + 60
    while 'run/restarts' not in ask('plugin/text/tags').get('train', ()) or (
        'quality/loss' not in ask('plugin/scalars/tags').get('eval', ())):
      assert time.monotonic() < until, 'TensorBoard has not read the run.'
      time.sleep(0.2)
    yield ask
  finally:
    process.kill()
    process.communicate()


def _killed_run(folder):
  """Trains a run that is killed, and goes on on two devices."""
  killed = processes.run('resnet.train', *_FLAGS, f'--workdir={folder}',
                         between_calls=functools.partial(processes.kill_at, 25))
  assert killed.code == -signal.SIGKILL, killed.err
  done = processes.run(
      'resnet.train', *_FLAGS, f'--workdir={folder}', '--strategy=mirrored',
      '--virtual_devices=2')
  assert done.code == 0, done.err


@pytest.mark.slow
def test_the_server_shows_a_run_that_was_killed(tmp_path):
  _killed_run(tmp_path / 'killed')
  with _server(tmp_path / 'killed') as ask:
    _check_scalars(ask)
    _check_texts(ask)
    _check_pictures(ask)
    assert ask('plugin/graphs/info')['train']['run_graph']
    assert b'stage1/block1/conv1' in ask('plugin/graphs/graph', run='train')
    for kind in ('weights', 'weight_gradients'):
      shown = ask('plugin/histograms/histograms', run='train',
                  tag=f'{kind}/stem_conv/kernel')
      assert [step for _, step, _ in shown] == [10, 20, 30, 40], kind
    (group,) = ask('plugin/hparams/session_groups', request=json.dumps({
        'allowedStatuses': ['STATUS_SUCCESS'], 'sliceSize': 9}))[
            'sessionGroups']
    assert group['hparams']['run'] == 'killed'
    metrics = {value['name']['tag'] for value in group['metricValues']}
    assert {'quality/accuracy', 'quality/best_accuracy'} <= metrics


def _check_scalars(ask):
  """Each step is there once, and each group has its figures."""
  found = ask('plugin/scalars/tags')
  assert found.keys() == {'train', 'eval'}
  assert {tag.partition('/')[0] for tag in found['train']} == tags.GROUPS.keys()
  assert {tag.partition('/')[0] for tag in found['eval']} == {'quality'}
  for split, period in (('train', 5), ('eval', 10)):
    for tag in ('quality/loss', 'quality/accuracy'):
      shown = ask('plugin/scalars/scalars', run=split, tag=tag)
      assert [step for _, step, _ in shown] == [*range(period, 41, period)]
  for category in _charts(ask('plugin/custom_scalars/layout')).values():
    for title, patterns in category.items():
      for pattern in patterns:
        assert any(ask('plugin/custom_scalars/scalars', run=run,
                       tag=pattern)['tag_to_events'] for run in found), title


def _check_texts(ask):
  """The restart is where it happened; all else is at the start."""
  texts = {tag: ask('plugin/text/text', run='train', tag=tag)
           for tag in ask('plugin/text/tags')['train']}
  assert {tag: [one['step'] for one in shown]
          for tag, shown in texts.items()} == {
              'run/about': [0], 'run/config': [0], 'run/restarts': [20]}
  assert 'CPU:0, CPU:1' in texts['run/restarts'][0]['text']
  assert '<strong>command</strong>' in texts['run/about'][0]['text']


def _check_pictures(ask):
  """Each evaluation has its pictures once, and they are pictures."""
  for split, tag, steps in (
      ('train', 'pictures/input', [1]),
      ('eval', 'pictures/confusion', [10, 20, 30, 40]),
      ('eval', 'pictures/worst', [10, 20, 30, 40])):
    shown = ask('plugin/images/images', run=split, tag=tag, sample=0)
    assert [one['step'] for one in shown] == steps, tag
    query = dict(urllib.parse.parse_qsl(shown[-1]['query']))
    with PIL.Image.open(io.BytesIO(ask(
        'plugin/images/individualImage', **query))) as picture:
      assert min(picture.size) > 50, tag
