"""What a report cannot make here, but could elsewhere."""
from configs.process.errors import UserError


class Unavailable(UserError):
  """Something is not on this machine: a package, or the data.

  Nothing is wrong with the run. It is an error only of a user who asked for the
  part by its name.
  """
