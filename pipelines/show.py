"""Shows what a recipe's augmentation makes of its pictures, as a contact sheet.

  python -m pipelines.show --config=imagenet_resnet50 --data_dir=DIR

Each row is one picture: at the left as evaluation sees it, then as training
might see it. With mixup or cutmix, rows 1 and 2, rows 3 and 4, and so on are
mixed with each other.
"""
import pathlib

from absl import flags

from configs import combinations, loading, schema
from configs.process import (
    command_line,
    path_flags,
    streams,
    tensorflow_process,
)
from configs.process.errors import UserError
from pipelines import reading_flags

_MOST = 1000  # Rows, and columns.
_MOST_MIB = 512  # Of a sheet. Drawing one takes a few times as much memory.


def parse(argv: list[str]) -> tuple[schema.Config, str, list[str]]:
  """Defines and reads the flags: (config, recipe's name, other arguments)."""
  reading_flags.define()
  path_flags.define(
      'output', None, 'The PNG file to write. Default: <recipe>.png.')
  flags.DEFINE_integer(
      'rows', 8, 'Number of pictures; must be even.', lower_bound=2,
      upper_bound=_MOST)
  flags.DEFINE_integer(
      'columns', 8, 'How often each picture is augmented.', lower_bound=1,
      upper_bound=_MOST)
  return loading.parse(argv)


def main(parsed: tuple[schema.Config, str, list[str]]) -> int:
  """Writes the sheet; returns the exit code."""
  config, recipe, others = parsed
  command_line.refuse(others)
  streams.may_be_lost()  # What counts is in the file.
  values = flags.FLAGS
  if values.rows % 2:
    raise UserError(f'--rows={values.rows} is odd, but mixup and cutmix mix '
                    f'pairs of rows: give {values.rows + 1}.')
  with tensorflow_process.starting():
    from pipelines import contact_sheet, sources

  source = sources.load(config.data, config.data.train_split,
                        reading_flags.get(), made=config.synthetic)
  combinations.check_images(config, *source.image_shape[:2])
  _check_size(contact_sheet.mib(
      source.image_shape, values.rows, values.columns))
  sheet = contact_sheet.draw(config, source, values.rows, values.columns)
  path = values.output or pathlib.Path(f'{recipe}.png')
  try:
    with open(path, 'wb') as file:
      file.write(contact_sheet.png(sheet))
  except OSError as error:
    raise UserError(f'--output={path} cannot be written ({error.strerror}): '
                    'give a file in a writable folder.') from error
  print(f'Wrote {path}: {values.rows} pictures of {config.data.name}, each '
        f'unchanged and in {values.columns} augmented versions.')
  return command_line.DONE


def _check_size(mib: float) -> None:
  """Raises UserError if a sheet of this size is too large to draw."""
  if mib > _MOST_MIB:
    values = flags.FLAGS
    raise UserError(
        f'--rows={values.rows} with --columns={values.columns} makes a sheet '
        f'of {mib:.0f} MiB, and at most {_MOST_MIB} are drawn: lower one of '
        'the two.')


def run() -> None:
  """Runs the installed command."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
