"""Replaces a file so that neither a reader nor a crash meets half of it."""
import contextlib
import os
import pathlib
import secrets


def write(path: str | os.PathLike, content: bytes | str, *,
          durable: bool = True) -> None:
  """Replaces the content of a file in one step.

  Writes <name>.<8 hex digits>.partial beside the file and renames it. The
  digits are random, so several processes, on several machines, may write the
  same file at once: the last one to finish wins. A process that is killed in
  between leaves the old file and its own .partial, which nobody reads.

  Args:
    path: the file; its folder exists.
    content: bytes, or text to be written as UTF-8.
    durable: whether the content must survive a power cut once the call has
      returned. Waits for the disk.

  Raises:
    OSError: the file cannot be written; the old one is left as it was.
  """
  path = pathlib.Path(path)
  partial = path.with_name(f'{path.name}.{secrets.token_hex(4)}.partial')
  data = content.encode() if isinstance(content, str) else content
  try:
    with partial.open('xb') as file:
      file.write(data)
      file.flush()
      if durable:
        os.fsync(file.fileno())
    os.replace(partial, path)
  except BaseException:
    with contextlib.suppress(OSError):
      partial.unlink()
    raise
