"""The files in launch/examples are what the launchers print."""
import pytest

from tests.launch import examples


@pytest.mark.parametrize('name', examples.COMMANDS)
def test_example_is_what_the_launcher_prints(name):
  assert (examples.FOLDER / name).read_text() == examples.text(name)


def test_the_readme_lists_all_examples():
  assert (examples.FOLDER / 'README.md').read_text() == examples.index()
  assert {path.name for path in examples.FOLDER.iterdir()} == {
      'README.md', *examples.COMMANDS}
