"""What --checkpoint may be. No TensorFlow."""
from configs.process import whole_number
from configs.process.errors import UserError


def check(which: str) -> None:
  """Raises UserError if --checkpoint can have no meaning."""
  if which not in ('latest', 'best') and whole_number.parse(which) is None:
    raise UserError(f'--checkpoint={which} is unknown: give latest, best, or '
                    'a step.')
