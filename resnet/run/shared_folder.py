"""Whether all workers of a run see the same folder."""
import pathlib
import secrets
import time

from resnet.distribution.group import Disagreement, Group

MARK = '.shared'
_SEEN_WITHIN_SECS = 10.0  # Network file systems show new files late.


def check(path: pathlib.Path, group: Group) -> None:
  """Checks that all workers see the same folder. All of them must call it.

  Raises:
    Disagreement: some workers do not; names them.
  """
  if group.is_alone:
    return
  mark, number = path / MARK, secrets.randbits(48)
  if group.is_chief:
    mark.write_text(str(number), encoding='utf-8')
  number = group.of_chief(number)
  end = time.monotonic() + _SEEN_WITHIN_SECS
  while not (seen := _reads(mark, number)) and time.monotonic() < end:
    time.sleep(0.1)
  blind = [rank for rank, sees in enumerate(group.exchange([seen]))
           if not sees]
  if group.is_chief:
    mark.unlink()
  if blind:
    raise Disagreement(
        f'--workdir={path} is not the same folder on worker '
        f'{", ".join(map(str, blind))} as on worker 0: give a folder that all '
        'workers share.')


def _reads(path, number):
  """Returns whether a file holds a number."""
  try:
    return path.read_bytes() == str(number).encode()
  except OSError:
    return False
