"""The table that the doctor prints, and the line that ends it."""
from launch.doctor import table
from tests.launch.doctor_samples import ADDRESSES, report


def test_a_row_for_each_rank():
  gpus = ['A100'] * 8
  found = {0: report(0, devices=gpus, unreached={1: 'x', 2: 'y'}),
           1: report(1, devices=gpus[1:] + ['V100'], unreached={2: 'y'})}
  assert table.table(ADDRESSES[:3], found) == [
      'rank  host   address  reached by  devices         python  tensorflow  '
      'keras   code      data set                  workdir',
      '0     node0  a:1      all         8 A100          3.11.7  2.21.0      '
      '3.15.1  01234567  digits 1437+360 (d1d1d1)  writable',
      '1     node1  b:2      not 0       7 A100, 1 V100  3.11.7  2.21.0      '
      '3.15.1  01234567  digits 1437+360 (d1d1d1)  shared',
      '2     -      c:3      not 0, 1    -               -       -           '
      '-       -         -                         -']


def test_a_rank_that_is_alone_is_reached_by_nobody():
  for addresses in (('a:1',), (None,)):
    row = table.table(addresses, {0: report(0)})[1]
    assert row.split()[2:4] == [addresses[0] or '-', '-']


def test_escapes_of_others_do_not_reach_the_terminal():
  evil = report(1, problems=('\x1b[2J\nerror: x.',))._replace(host='\x1b]0;x')
  text = table.table(ADDRESSES[:2], {0: report(0), 1: evil})
  assert '?]0;x' in text[2] and '\x1b' not in ''.join(text)


def test_the_conclusion_counts_workers_devices_and_images():
  found = {rank: report(rank, devices=['A100'] * 4) for rank in range(2)}
  assert table.conclusion(ADDRESSES[:2], found) == (
      'All is well: 2 workers, 8 devices, 6 images per device and step.')
  assert table.conclusion((None,), {0: report(0)}) == (
      'All is well: 1 worker, 1 device, 48 images per device and step.')
