"""The names of TFDS data sets: which ones this project reads and prepares.

NAME, NAME/CONFIG, and either with :VERSION, such as cifar10,
cifar10_corrupted/brightness_1 and cifar10:3.0.2. TFDS itself takes more: names
of other hubs (huggingface:mnist), which need packages and networks of their
own, and arguments for a builder's code. Both are refused. TensorFlow is not
needed.
"""
import re

from configs.process.errors import printable, UserError

_NAME = re.compile(r'[a-zA-Z]\w*(/[\w+-][\w+.-]*)?(:(\d+|\*)(\.(\d+|\*)){2})?',
                   re.ASCII)
_LONGEST = 150  # Names become parts of file names, which hold 255 bytes.


def check(name: str, flag: str) -> None:
  """Checks the form of a name; whether TFDS has it is not known here.

  Args:
    name: the value of a flag.
    flag: its name with dashes, for the sentence: '--dataset'.

  Raises:
    UserError: it does not have the form of this module's docstring.
  """
  if len(name) > _LONGEST or not _NAME.fullmatch(name):
    raise UserError(
        f'{flag}={printable(name, _LONGEST)} is not the name of a TFDS data '
        'set: give a NAME, NAME/CONFIG or NAME:VERSION of '
        'https://www.tensorflow.org/datasets/catalog, such as cifar10, '
        'cifar10_corrupted/brightness_1 or cifar10:3.0.2 (other hubs, such as '
        'huggingface:, are not supported).')
