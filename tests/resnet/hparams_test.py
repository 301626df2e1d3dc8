"""What the HParams tab shows of our runs, by TensorBoard's own backend."""
import pytest
from tensorboard.plugins.hparams import api_pb2

from resnet.run import summaries
from tests.resnet import hparams_tab


def _train(folder, settings, accuracy, first_step=0, last_step=20, ends=True,
           now=100.0):
  """Writes the summaries of a run that starts or resumes at first_step."""
  written = summaries.Summaries(folder, first_step, lambda: now)
  if not first_step:
    written.write_settings(settings)
  for step in range(first_step + 10, last_step + 1, 10):
    written.write('train', step, {'loss': 2.5})
    written.write('eval', step, {'accuracy': accuracy * step / 20,
                                 'loss': 1 - accuracy, 'examples': 4})
    written.write_best(step, 'accuracy')
  if ends:
    written.write_success(last_step)
  written.close()


def test_runs_are_compared_by_settings_and_last_evaluations(tmp_path):
  for name, peak, accuracy in (('low', 0.1, 0.5), ('high', 0.2, 0.75)):
    (tmp_path / name).mkdir()
    _train(tmp_path / name, {
        'schedule.peak': peak, 'schedule.drops_at': (0.5, 0.75),
        'model.name': 'resnet', 'augment.flip': True, 'model.depth': 8},
           accuracy)

  tab = hparams_tab.Tab(tmp_path)
  high, low = sorted(tab.groups, key=lambda group: group.sessions[0].name)
  same = {'schedule.drops_at': '0.5,0.75', 'model.name': 'resnet',
          'augment.flip': True, 'model.depth': 8.0}
  assert hparams_tab.settings(low) == {
      'run': 'low', 'schedule.peak': 0.1, **same}
  assert hparams_tab.settings(high) == {
      'run': 'high', 'schedule.peak': 0.2, **same}
  assert [one.name for one in low.sessions] == ['low/eval']
  assert [one.name for one in high.sessions] == ['high/eval']
  assert hparams_tab.metrics(low) == {
      'quality/accuracy': 0.5, 'quality/loss': 0.5, 'quality/examples': 4.0,
      'quality/best_accuracy': 0.5, 'quality/best_loss': 0.5}
  assert hparams_tab.metrics(high) == {
      'quality/accuracy': 0.75, 'quality/loss': 0.25, 'quality/examples': 4.0,
      'quality/best_accuracy': 0.75, 'quality/best_loss': 0.25}
  assert {m.training_step for m in high.metric_values} == {20}
  assert {one.status for one in (*low.sessions, *high.sessions)} == {
      api_pb2.STATUS_SUCCESS}


def test_settings_that_differ_are_shown_first(tmp_path):
  for name, peak in (('low', 0.1), ('high', 0.2)):
    (tmp_path / name).mkdir()
    _train(tmp_path / name, {'augment.flip': True, 'schedule.peak': peak}, 0.5)
  infos = hparams_tab.Tab(tmp_path).experiment.hparam_infos
  assert [(info.name, info.differs) for info in infos] == [
      ('run', True), ('schedule.peak', True), ('augment.flip', False)]


def test_runs_that_differ_in_the_seed_are_one_group_with_means(tmp_path):
  for peak, seed, accuracy in (
      (0.1, 0, 0.5), (0.1, 1, 0.75), (0.2, 0, 0.25)):
    (tmp_path / f'{peak}-{seed}').mkdir()
    _train(tmp_path / f'{peak}-{seed}', {'schedule.peak': peak, 'seed': seed},
           accuracy)
  groups = {group.hparams['schedule.peak'].number_value: group
            for group in hparams_tab.Tab(tmp_path).groups}
  assert sorted(groups) == [0.1, 0.2]
  assert [one.name for one in groups[0.1].sessions] == [
      '0.1-0/eval', '0.1-1/eval']
  mean = hparams_tab.metrics(groups[0.1])['quality/accuracy']
  assert mean == 0.625  # (0.5 + 0.75) / 2.
  assert hparams_tab.metrics(groups[0.2])['quality/accuracy'] == 0.25
  shown = hparams_tab.settings(groups[0.1])
  assert shown.pop('run') in ('0.1-0', '0.1-1')
  assert shown == {'schedule.peak': 0.1}


def test_the_folder_of_a_single_run_shows_its_metrics(tmp_path):
  _train(tmp_path, {'schedule.peak': 0.1}, 0.5)
  (group,) = hparams_tab.Tab(tmp_path).groups
  assert hparams_tab.metrics(group)['quality/accuracy'] == 0.5


@pytest.mark.parametrize('first_step', [0, 10])
def test_a_run_that_was_stopped_and_resumed_is_one_session(
    tmp_path, first_step):
  """It is stopped before its first checkpoint, or after it."""
  _train(tmp_path, {'schedule.peak': 0.1}, 0.5, ends=False, now=100.0)
  (group,) = hparams_tab.Tab(tmp_path).groups
  (session,) = group.sessions
  assert session.status == api_pb2.STATUS_UNKNOWN
  assert hparams_tab.metrics(group)['quality/accuracy'] == 0.5

  _train(tmp_path, {'schedule.peak': 0.1}, 0.75, first_step, now=200.0)
  (group,) = hparams_tab.Tab(tmp_path).groups
  (session,) = group.sessions
  assert session.status == api_pb2.STATUS_SUCCESS
  assert (session.start_time_secs, session.end_time_secs) == (100.0, 200.0)
  assert hparams_tab.settings(group) == {
      'run': tmp_path.name, 'schedule.peak': 0.1}
  assert hparams_tab.metrics(group)['quality/accuracy'] == 0.75


def test_the_best_figures_are_beside_the_last(tmp_path):
  written = summaries.Summaries(tmp_path, 0, lambda: 100.0)
  written.write_settings({'schedule.peak': 0.1})
  # The best accuracy is that of step 20, the smallest loss that of step 30.
  for step, accuracy, loss in (
      (10, 0.25, 2.0), (20, 0.75, 1.0), (30, 0.5, 0.5), (40, 0.125, 4.0)):
    written.write('eval', step, {
        'accuracy': accuracy, 'loss': loss, 'examples': 8})
    written.write_best(step, 'accuracy')
  written.close()
  (group,) = hparams_tab.Tab(tmp_path).groups
  assert hparams_tab.metrics(group) == {
      'quality/accuracy': 0.125, 'quality/loss': 4.0, 'quality/examples': 8.0,
      'quality/best_accuracy': 0.75, 'quality/best_loss': 1.0}


def test_settings_are_on_disk_when_write_settings_returns(tmp_path):
  written = summaries.Summaries(tmp_path, 0, lambda: 100.0)
  written.write_settings({'schedule.peak': 0.1})
  (group,) = hparams_tab.Tab(tmp_path).groups
  assert hparams_tab.settings(group) == {
      'run': tmp_path.name, 'schedule.peak': 0.1}
  written.close()


def test_only_the_chief_writes(tmp_path):
  written = summaries.Summaries(tmp_path, 0, chief=False)
  written.write_success(20)
  written.close()
  assert not list(tmp_path.iterdir())
