"""Shows what a recipe's augmentation makes of its pictures, as a contact sheet.

  python -m pipelines.show --config=imagenet_resnet50 --data_dir=DIR

Each row is one picture: at the left as evaluation sees it, then as training
might see it. With mixup or cutmix, rows 1 and 2, rows 3 and 4, and so on are
mixed with each other.
"""
import os

from absl import flags

from configs import loading, schema
from configs.process import command_line, tensorflow_process
from configs.process.errors import UserError
from pipelines import reading_flags


def parse(argv: list[str]) -> tuple[schema.Config, str, list[str]]:
  """Defines and reads the flags: (config, recipe's name, other arguments)."""
  reading_flags.define()
  flags.adopt_module_key_flags(reading_flags)
  flags.DEFINE_string(
      'output', None, 'The PNG file to write. Default: <recipe>.png.')
  flags.DEFINE_integer(
      'rows', 8, 'Number of pictures; must be even.', lower_bound=2)
  flags.DEFINE_integer(
      'columns', 8, 'How often each picture is augmented.', lower_bound=1)
  return loading.parse(argv)


def main(parsed: tuple[schema.Config, str, list[str]]) -> int:
  """Writes the sheet; returns the exit code."""
  config, recipe, others = parsed
  command_line.refuse(others)
  values = flags.FLAGS
  if values.rows % 2:
    raise UserError(f'--rows={values.rows} is odd, but mixup and cutmix mix '
                    f'pairs of rows: give {values.rows + 1}.')
  with tensorflow_process.starting():
    from pipelines import contact_sheet, sources

  source = sources.load(config.data.name, config.data.train_split,
                        reading_flags.get(), config.data.image_size)
  sheet = contact_sheet.draw(config, source, values.rows, values.columns)
  path = os.path.expanduser(values.output or f'{recipe}.png')
  try:
    with open(path, 'wb') as file:
      file.write(contact_sheet.png(sheet))
  except OSError as error:
    raise UserError(f'--output={path} cannot be written ({error.strerror}): '
                    'give a file in a writable folder.') from error
  print(f'Wrote {path}: {values.rows} pictures of {config.data.name}, each '
        f'unchanged and in {values.columns} augmented versions.')
  return command_line.DONE


def run() -> None:
  """Runs the installed command."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
