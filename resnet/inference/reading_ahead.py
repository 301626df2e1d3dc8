"""Reads many things on all cores, a few ahead of the one that is needed."""
import collections
from collections.abc import Callable, Iterable, Iterator
import concurrent.futures
import os
from typing import TypeVar

_Item = TypeVar('_Item')
_Result = TypeVar('_Result')


def in_order(items: Iterable[_Item], read: Callable[[_Item], _Result],
             ahead: int) -> Iterator[tuple[_Item, _Result]]:
  """Reads items in threads, one for each core that this process may use.

  Args:
    items: what to read; not asked for more than `ahead` before they are needed.
    read: called by the threads.
    ahead: how many results are kept at most.

  Yields:
    (item, what was read), in the order of the items.
  """
  pool = concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0)))
  waiting = collections.deque()
  try:
    for item in items:
      waiting.append((item, pool.submit(read, item)))
      if len(waiting) > ahead:
        first, future = waiting.popleft()
        yield first, future.result()
    while waiting:
      first, future = waiting.popleft()
      yield first, future.result()
  finally:  # Where the caller wants no more, too.
    pool.shutdown(cancel_futures=True)
