"""Replaces a file so that a reader or a kill never meets half of it."""
import contextlib
import os
import pathlib


def write(path: str | os.PathLike, content: bytes | str, *,
          durable: bool = True) -> None:
  """Replaces the content of a file at once.

  Writes <name>.partial beside it and renames that. A kill in between leaves
  the old file, and perhaps the .partial, which the next write replaces.

  Args:
    path: of the file; its folder exists.
    content: bytes, or text to be written as UTF-8.
    durable: whether the content must survive a power cut once the call has
      returned. Waits for the disk.

  Raises:
    OSError: the file cannot be written; the old one is left as it was.
  """
  path = pathlib.Path(path)
  partial = path.with_name(f'{path.name}.partial')
  data = content.encode() if isinstance(content, str) else content
  try:
    with partial.open('wb') as file:
      file.write(data)
      file.flush()
      if durable:
        os.fsync(file.fileno())
    os.replace(partial, path)
  except OSError:
    with contextlib.suppress(OSError):
      partial.unlink()
    raise
