"""No number flag of any program takes nan, or more than its type or use allows.
"""
import re

import pytest

from tests.wrong_inputs import forks

_READING = {'memory_gib': 'number'}
_EXECUTION = dict.fromkeys(
    ('worker_rank', 'worker_port', 'virtual_devices', 'start_secs',
     'heartbeat_secs', 'collective_secs', 'pack_mib'), 'integer')
_TRAINING = {
    **_READING, **_EXECUTION,
    **dict.fromkeys(('steps_per_call', 'log_every_steps', 'eval_every_steps',
                     'save_every_steps', 'keep_last', 'keep_best',
                     'histograms_every_steps'), 'integer'),
    **dict.fromkeys(('eval_every_epochs', 'save_every_secs', 'max_mins',
                     'stall_secs'), 'number')}
_FLAGS = {
    'launch.benchmark': dict.fromkeys(
        ('workers', 'worker_batch', 'steps', 'rounds'), 'integer'),
    'launch.doctor.__main__': {'wait_secs': 'number'},
    'launch.kubernetes.__main__': dict.fromkeys(
        ('workers', 'gpus_per_worker', 'user', 'max_restarts', 'grace_secs'),
        'integer'),
    'launch.local.__main__': {
        'workers': 'integer', 'gpus_per_worker': 'integer',
        'max_restarts': 'integer', 'grace_secs': 'number'},
    'launch.slurm.__main__': dict.fromkeys(
        ('nodes', 'workers_per_node', 'gpus_per_worker', 'grace_secs',
         'max_restarts', 'seeds'), 'integer'),
    'launch.sweep.__main__': {'seeds': 'integer'},
    'pipelines.benchmark': {
        **_READING, 'images': 'integer', 'rounds': 'integer',
        'images_per_second': 'integer', 'repeat_data': 'integer'},
    'pipelines.prepare': dict.fromkeys(
        ('max_side', 'jpeg_quality', 'split_seed'), 'integer'),
    'pipelines.show': {**_READING, 'rows': 'integer', 'columns': 'integer'},
    'resnet.evaluate': {
        **_READING, **_EXECUTION, 'average_checkpoints': 'integer'},
    'resnet.export': {**_READING, **_EXECUTION, 'pictures': 'integer'},
    'resnet.predict': {**_EXECUTION, 'top': 'integer', 'batch': 'integer'},
    'resnet.report': {**_READING, 'step': 'integer'},
    'resnet.runs': {},
    'resnet.tools.benchmark': {
        **_READING, **_EXECUTION, 'rounds': 'integer', 'block_secs': 'number'},
    'resnet.tools.benchmark_augment': {
        **_READING, **_EXECUTION, 'rounds': 'integer'},
    'resnet.tools.benchmark_gpu': {
        **_READING, 'max_mins': 'number', 'virtual_devices': 'integer',
        'log_every_steps': 'integer', 'block_secs': 'number'},
    'resnet.tools.profile_step': {
        **_READING, **_EXECUTION, 'steps': 'integer'},
    'resnet.tools.survey': _TRAINING,
    'resnet.train': _TRAINING,
}
_WRONG = {'number': ('nan', 'inf', '-inf', '1e300', '1000000001', 'ten'),
          'integer': ('2147483648', '1' + '0' * 30, '1.5', 'nan')}
_CASES = [(program, f'--{name}={value}')
          for program, flags in _FLAGS.items() for name, kind in flags.items()
          for value in _WRONG[kind]]


@pytest.mark.parametrize('program, flag', _CASES)
def test_a_wrong_number(refused, program, flag):
  sentence = refused(program, flag)
  shown = flag.replace('=1e300', '=1e+300').replace('0001', '0001.0')
  assert re.fullmatch(
      f'{re.escape(shown)} is not allowed: give an? (integer|number) '
      r'(up|from [0-9]+) to [0-9]+\.', sentence)


@pytest.mark.parametrize('program', forks.PROGRAMS)
def test_all_number_flags_are_above(programs, program):
  assert programs.number_flags(program) == _FLAGS[program]
