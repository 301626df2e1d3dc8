"""A CSV file gives pictures their classes, or is refused in one sentence."""
import os

import pytest

from configs.process.errors import UserError
from pipelines import label_table
from tests.tiny_dataset import write_pictures

_PLAIN = 'a/1.png,cat\n2.png,dog\na/3 x.png,cat\n'
_SPLITS = {'train': [('a/1.png', 0), ('a/3 x.png', 0), ('2.png', 1)]}


@pytest.fixture
def root(tmp_path):
  return write_pictures(tmp_path / 'in', 'a/1.png', '2.png', 'a/3 x.png')


def _scan(root, content, encoding='utf-8'):
  table = root.parent / 'labels.csv'
  table.write_bytes(content.encode(encoding))
  return label_table.scan(root, table)


def _refused(root, content, encoding='utf-8'):
  with pytest.raises(UserError) as raised:
    _scan(root, content, encoding)
  message = str(raised.value)
  start = f'--labels={root.parent}/labels.csv '
  assert message.startswith(start) and message.endswith('.')
  return message.removeprefix(start)


@pytest.mark.parametrize('content', [
    _PLAIN,
    f'file,label\n{_PLAIN}',
    f'\ufeffFile , LABEL\n{_PLAIN}',  # A byte order mark.
    _PLAIN.replace(',', ';'),
    _PLAIN.replace(',', '\t'),
    _PLAIN.replace('\n', '\r\n\r\n'),
    _PLAIN.replace(',', ' , '),
    'id,class,note,path\n1,cat,,a/1.png\n2,dog,"x, y",2.png\n'
    '3,cat,z,a/3 x.png\n',
    '"a/1.png","cat"\n"2.png","dog"\n"a/3 x.png","cat"',
    './a/1.png,cat\na/../2.png,dog\na\\3 x.png,cat\n',
    f'{_PLAIN}a/1.png,cat\n',  # The same once more.
    _PLAIN + ',\n',
    'file,label,split\n' + _PLAIN.replace('\n', ',train\n')])
def test_what_is_understood(root, capsys, content):
  tree = _scan(root, content)
  assert (tree.classes, tree.splits) == (['cat', 'dog'], _SPLITS)
  assert tree.folder == str(root) and tree.size == 3
  assert capsys.readouterr().err == ''


def test_absolute_paths_in_the_folder(root):
  content = ''.join(f'{root}/{line}\n' for line in _PLAIN.splitlines())
  assert _scan(root, content).splits == _SPLITS


def test_names_with_separators_in_quotes(root):
  write_pictures(root, 'x,y;z.png')
  assert _scan(root, '"x,y;z.png",cat\n2.png,dog\n').splits == {
      'train': [('x,y;z.png', 0), ('2.png', 1)]}
  assert _scan(root, 'x,y;z.png\tcat\n2.png\tdog\n').classes == ['cat', 'dog']


def test_splits(root, capsys):
  tree = _scan(root, 'split,file,label\ntrain,a/1.png,cat\ntrain,2.png,dog\n'
               'VALID,a/3 x.png,cat\n')
  assert tree.splits == {'train': [('a/1.png', 0), ('2.png', 1)],
                         'validation': [('a/3 x.png', 0)]}
  assert capsys.readouterr().err == (
      'warning: validation has no pictures of 1 of the 2 classes (dog).\n')


def test_what_is_not_listed_is_left_out_and_counted(root, capsys):
  write_pictures(root, 'b/4.png', '.hidden.png')
  (root / 'notes.txt').write_text('')
  assert _scan(root, _PLAIN).splits == _SPLITS
  assert capsys.readouterr().err == (
      'warning: ignoring 1 pictures that --labels does not list (b/4.png).\n')


def test_classes_that_differ_in_case_are_told(root, capsys):
  assert _scan(root, _PLAIN.replace('dog', 'Cat')).classes == ['Cat', 'cat']
  assert capsys.readouterr().err == (
      'warning: some classes have names that differ only in case (Cat = cat), '
      'but count as different classes.\n')


def test_one_class_in_two_spellings_and_files_in_another(root):
  write_pictures(root, 'caf\u00e9.png')
  tree = _scan(root, 'cafe\u0301.png,e\u0301\n2.png,\u00e9\na/1.png,b\n')
  assert tree.classes == ['b', '\u00e9']
  assert tree.splits == {'train': [
      ('a/1.png', 0), ('2.png', 1), ('caf\u00e9.png', 1)]}


def test_the_description_changes_with_labels_and_splits(root):
  again = _scan(root, 'file;label\n' + ''.join(
      line.replace(',', ';') + '\n' for line in _PLAIN.splitlines()[::-1]))
  assert again.description == _scan(root, _PLAIN).description
  others = [_scan(root, content).description for content in (
      _PLAIN, _PLAIN.replace('a/3 x.png,cat', 'a/3 x.png,dog'),
      'file,label,split\na/1.png,cat,train\n2.png,dog,train\n'
      'a/3 x.png,cat,test\n')]
  assert len(set(others)) == 3


@pytest.mark.parametrize('content, words', [
    ('', 'is empty: give lines of the form file,label'),
    ('\n ,\n', 'is empty'),
    ('file,label\n', 'has a header and no more'),
    (_PLAIN + 'no.png,cat\n/etc/2.png,cat\n../in.png,cat\n',
     'names 3 files (no.png in line 4, /etc/2.png in line 5, ../in.png in line '
     '6) that are not pictures (.jpg'),
    (_PLAIN + '2.png,\n', 'has no label in line 4: add it, or delete the line'),
    (_PLAIN + '2.png\n', 'has 1 columns in line 4, not 2 as before: add what'),
    (_PLAIN + '2.png,dog,train\n', 'has 3 columns in line 4, not 2'),
    (_PLAIN + '2.png,cat\n',
     'lists 1 files a second time with another label or split (2.png: dog in '
     'line 2 and cat in line 4): keep one line of each'),
    ('file,label,split\n2.png,dog,train\n2.png,dog,val\n',
     '(2.png: dog of train in line 2 and dog of validation in line 3)'),
    ('2.png,dog,dev\n',
     "has the split 'dev' in line 1: choose one of train, val, valid"),
    ('2.png,dog,\n', "has the split '' in line 1"),
    ('2.png,dog\na/1.png,dog\n', 'has only one class, dog: give pictures of'),
    ('2.png,dog,val\na/1.png,cat,test\n', 'has no pictures in train'),
    ('2.png,dog,train\na/1.png,cat,train\na/3 x.png,cow,test\n',
     'has 1 classes that have no pictures in train (cow): add some to train'),
    ('id,breed\n2.png,dog\na/1.png,cat\n',
     'begins with id,breed, which is neither a picture nor a header'),
    ('1,2.png,dog,x\n', 'has 4 columns and no header'),
    ('2.png,"do\ng"\na/1.png,cat\n',
     "has a label with a line break or another control character in line 2, '"),
    ('2.png,"dog\n', 'cannot be understood in line 1 (unexpected end of data)'),
    ('2.png,do\0g\na/1.png,cat\n', 'control character'),
])
def test_what_is_refused(root, content, words):
  assert words in _refused(root, content)


@pytest.mark.parametrize('encoding, words', [
    ('latin-1', 'is not UTF-8 (byte 0xe9 in line 4): save it as CSV UTF-8'),
    ('utf-16', 'is not UTF-8 (byte 0xff in line 1)')])
def test_other_encodings_are_refused(root, encoding, words):
  assert words in _refused(root, f'{_PLAIN}2.png,\u00e9\n', encoding)


def test_a_file_that_is_no_picture_is_refused(root):
  (root / 'notes.txt').write_text('')
  assert 'names 1 files (notes.txt in line 4) that are not pictures (' in (
      _refused(root, f'{_PLAIN}notes.txt,cat\n'))


def test_links_do_not_change_labels(root):
  (root / 'b.png').symlink_to('2.png')
  (root / 'out.png').symlink_to('/nowhere.png')  # Reading it says why.
  with pytest.raises(UserError, match='label of another .2.png = b.png.'):
    _scan(root, _PLAIN + 'b.png,cat\n')
  assert _scan(root, _PLAIN + 'b.png,dog\nout.png,dog\n').splits == {
      'train': [*_SPLITS['train'], ('out.png', 1)]}


@pytest.mark.parametrize('what, words', [
    ('none.csv', 'none.csv cannot be read (No such file or directory): give'),
    ('in', 'in is not a file: give a CSV file'),
    ('pipe', 'pipe is not a file: give a CSV file')])
def test_tables_that_cannot_be_read(root, what, words):
  os.mkfifo(root.parent / 'pipe')
  with pytest.raises(UserError) as raised:
    label_table.scan(root, root.parent / what)
  assert words in str(raised.value)


def test_a_folder_that_does_not_exist(root):
  with pytest.raises(UserError, match='--image_folder=.*none does not exist'):
    label_table.scan(root / 'none', root.parent / 'labels.csv')
