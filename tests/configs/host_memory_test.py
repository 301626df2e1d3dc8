"""Freed memory is reused without going through the kernel."""
import pathlib
import platform
import subprocess
import sys

import pytest

_PAGES_OF_SECOND_BLOCK = """
import resource, sys
import numpy as np
if sys.argv[1] == 'kept':
  from configs.process import host_memory
  host_memory.keep_freed()
block = np.empty(24 * 2**20, np.uint8)
block.fill(1)
del block
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
block = np.empty(24 * 2**20, np.uint8)
block.fill(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _page_faults(mode):
  return int(subprocess.run(
      [sys.executable, '-c', _PAGES_OF_SECOND_BLOCK, mode], check=True,
      capture_output=True, text=True,
      env={'PATH': '', 'NUMPY_MADVISE_HUGEPAGE': '0'}).stdout)


_HUGE_PAGES = pathlib.Path('/sys/kernel/mm/transparent_hugepage/enabled')


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='needs glibc')
@pytest.mark.skipif(_HUGE_PAGES.exists() and '[always]' in
                    _HUGE_PAGES.read_text(), reason='pages are larger')
def test_a_freed_block_is_used_again():
  # 24 MiB are 6,144 pages of 4 KiB. They all fault, except for a few at the
  # block's ends, if the block was returned to the kernel.
  assert _page_faults('default') > 6000
  assert _page_faults('kept') < 100
