"""What all workers of a run must succeed at, before any of them goes on."""
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from configs.process.errors import TryAgain, UserError
from resnet.distribution.group import Disagreement, Group, Postponed

_Result = TypeVar('_Result')


def on_all(group: Group, action: Callable[[], _Result],
           failed: str) -> _Result:
  """Returns action(), once it has succeeded on all workers.

  Args:
    group: the workers; all of them call this.
    action: must not ask the group anything.
    failed: what has failed if it raises: 'The checkpoint cannot be restored'.

  Raises:
    UserError, TryAgain: it failed, here or elsewhere. All workers raise: those
      on which it failed their own error, the others one that names them.
  """
  result, failure = None, None
  try:
    result = action()
  except (UserError, TryAgain) as error:
    if group.is_alone:
      raise
    failure = error
  lasting, passing = group.exchange([
      isinstance(failure, UserError), isinstance(failure, TryAgain)]).T
  where = [str(rank) for rank in np.flatnonzero(lasting + passing)]
  if where:
    raise (Disagreement if lasting.any() else Postponed)(
        failure or f'{failed} on worker {", ".join(where)}, whose own message '
        'says why.') from failure
  return result  # pyright: ignore[reportReturnType]
