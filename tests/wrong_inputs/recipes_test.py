"""Recipes are Python files of users': they may raise, return or hold anything.
"""
import pytest

_CONFIG = """from configs import schema
def get_config():
  config = schema.Config(train_steps=1)
  {}
  return config
"""
_RETURNS = 'from configs import schema\ndef get_config(): return {}'


@pytest.fixture
def refused_recipe(refused, tmp_path):
  """A function like `refused`, of the content of a recipe and flags."""
  path = tmp_path / 'recipe.py'

  def run(content, *flags):
    path.write_bytes(
        content.encode() if isinstance(content, str) else content)
    sentence = refused('resnet.train', f'--config={path}', *flags)
    return sentence.replace(f'--config={path}', '--config=R')

  return run


@pytest.mark.parametrize('content, words', [
    ('', "(AttributeError: module 'recipe_recipe' has no attribute 'get_conf"),
    ('get_config = 5', "(TypeError: 'int' object is not callable)"),
    ('def get_config(size): pass', '(TypeError: get_config() missing 1 req'),
    ('def get_config(): return schema', "(NameError: name 'schema' is not"),
    ('x =', '(SyntaxError: invalid syntax (recipe.py, line 1))'),
    ('\t\n  x', '(IndentationError: unexpected indent'),
    ('(' * 200_000, '(SyntaxError: too many nested parentheses'),
    ('x = ' + '-' * 100_000 + '1', '(MemoryError: MemoryError)'),
    ('def f(): f()\nf()', '(RecursionError: maximum recursion depth exceeded'),
    (b'# \xe9\nx = \xff', '(SyntaxError: '),
    (b'\xff\xfe', "(SyntaxError: (unicode error) 'utf-8' codec can't decode"),
    (b'x\0y', '(SyntaxError: source code string cannot contain null bytes)'),
    ('import no_such_module', "(ModuleNotFoundError: No module named 'no_su"),
    ('1 / 0', '(ZeroDivisionError: division by zero)'),
    ('open("/no/such/file")', '(FileNotFoundError: [Errno 2] No such file'),
    ('import sys; sys.exit()', '(SystemExit: SystemExit)'),
    ('import sys; sys.exit(0)', '(SystemExit: 0)'),
    ('import sys; sys.exit("bye")', '(SystemExit: bye)'),
    ('def get_config(): raise SystemExit(2)', '(SystemExit: 2)'),
    ('raise RuntimeError', '(RuntimeError: RuntimeError)'),
    ('raise RuntimeError(" ")', '(RuntimeError: RuntimeError)'),
    ('raise RuntimeError("a\\nb")', '(RuntimeError: a)'),
    ('raise RuntimeError("\\x1b[2J\\udcff")', '(RuntimeError: ?[2J?)'),
    ('raise MemoryError', '(MemoryError: MemoryError)'),
    ('raise GeneratorExit', '(GeneratorExit: GeneratorExit)'),
    ('class Own(BaseException): pass\nraise Own', '(Own: Own)'),
    (_RETURNS.format('schema.Config(train_stepz=3)'), "argument 'train_stepz'"),
    (_RETURNS.format('schema.Config(*range(99))'), '(TypeError: Config.__init'),
], ids=range(28))
def test_recipes_that_fail(refused_recipe, content, words):
  sentence = refused_recipe(content)
  assert sentence.startswith(f'--config=R cannot be loaded ({words[1:]}'
                             if words[0] == '(' else '--config=R cannot be')
  assert words in sentence and sentence.endswith(
      ': fix the file, which must define a get_config() that returns a '
      'configs.schema.Config.')


@pytest.mark.parametrize('returned, name', [
    ('None', 'NoneType'), ('{}', 'dict'), ('5', 'int'),
    ('schema.Config', 'type'), ('schema.Model()', 'Model'),
    ('type("Mine", (schema.Config,), {})()', 'Mine'),
    ('(schema.Config(),)', 'tuple'), ('iter(())', 'tuple_iterator')])
def test_recipes_that_return_something_else(refused_recipe, returned, name):
  assert refused_recipe(_RETURNS.format(returned)) == (
      f'--config=R has a get_config() that returns a {name}: return a '
      'configs.schema.Config.')


@pytest.mark.parametrize('line, words', [
    ('config.model = None', 'config.model=None has the wrong type: give a '
     'configs.schema.Model.'),
    ('config.data = None', 'give a configs.schema.Data.'),
    ('config.augment = None', 'give a configs.schema.Augment.'),
    ('config.optimizer = None', 'give a configs.schema.Optimizer.'),
    ('config.schedule = None', 'give a configs.schema.Schedule.'),
    ('config.model = schema.Data()', 'give a configs.schema.Model.'),
    ('config.model = schema.Model', 'give a configs.schema.Model.'),
    ('config.model = {"depth": 8}', "config.model={'depth': 8} has the wrong"),
    ('config.model = "resnet"', "config.model='resnet' has the wrong type"),
    ('del config.model', 'config.model=None has the wrong type'),
    ('config.seed = None', 'config.seed=None has the wrong type'),
    ('config.seed = "1"', "config.seed='1' has the wrong type"),
    ('config.seed = 1.0', 'give a whole number.'),
    ('config.seed = True', 'give a whole number.'),
    ('config.seed = 10**5000', 'config.seed=<int> is out of range'),
    ('config.seed = -10**400', 'is out of range'),
    ('config.seed = [1]', 'config.seed=[1] has the wrong type'),
    ('import numpy; config.seed = numpy.int64(1)', 'give a whole number.'),
    ('config.train_steps = float("nan")', 'config.train_steps=nan has the'),
    ('config.train_epochs = "3"', 'give a number.'),
    ('config.label_smoothing = 10**400', 'give a number.'),
    ('config.label_smoothing = float("-inf")', 'give a number.'),
    ('import decimal; config.schedule.peak = decimal.Decimal(1)',
     "config.schedule.peak=Decimal('1') has the wrong type"),
    ('config.augment.sizes = [128]', 'give a tuple of whole numbers such as'),
    ('config.augment.sizes = 128', 'give a tuple of whole numbers such as'),
    ('config.augment.sizes = "128,224"', 'give a tuple of whole numbers'),
    ('config.augment.sizes = (128.5,)', 'give a whole number.'),
    ('config.augment.sizes = (True,)', 'give a whole number.'),
    ('config.augment.sizes = ((1,),)', 'give a whole number.'),
    ('config.augment.sizes = (0,)', 'give a value from 1 to 8192.'),
    ('config.data.mean = (1, "x", 3)', "config.data.mean='x' has the wrong"),
    ('config.data.mean = (float("nan"),)', 'config.data.mean=nan has the wro'),
    ('config.data.stddev = (0.0,)', 'give values of at least 0.001'),
    ('config.data.name = None', 'give a word.'),
    ('config.data.name = b"digits"', 'give a word.'),
    ('config.data.name = "a\\nb"', 'has control characters'),
    ('config.data.name = "\\udcff"', 'is not UTF-8'),
    ('config.data.train_split = "train\\0"', 'has control characters'),
    ('config.precision = ["float32"]', 'give a word.'),
    ('config.precision = "float64"', 'choose one of float32, bfloat16'),
    ('config.model.name = "x" * 100_000', ' ... xxxx'),
    ('config.augment.flip = 1', 'give true or false.'),
    ('config.augment.flip = None', 'give true or false.'),
    ('config.model.wdith = 3', 'did you mean config.model.width?'),
    ('config.trian_steps = 3', 'did you mean config.train_steps?'),
    ('config.extra = schema.Model()', 'config.extra does not exist'),
    ('class E:\n    def __repr__(self): 1 / 0\n  config.seed = E()',
     'config.seed=<E> has the wrong type'),
    ('config.train_steps = 0', 'do not define the length of the run'),
    ('config.train_epochs = 1.0', 'do not define the length of the run'),
    ('config.augment.repeats = 3', 'give a multiple of 3.'),
    ('config.augment.mixup = 1e-300', 'give a value of 0, or from 0.001 to'),
    ('config.train_steps = 10**12; config.global_batch = 1000',
     'takes more than 281474976710656 images: give at most 281474976710 st'),
])
def test_configs_that_hold_something_else(refused_recipe, line, words):
  assert words in refused_recipe(_CONFIG.format(line))


@pytest.mark.parametrize('line, flag, words', [
    ('config.seed = "x"', '--config.seed=1', "config.seed='x' has the wrong"),
    ('config.model = None', '--config.model.depth=8', 'config.model=None has'),
    ('config.augment.sizes = None', '--config.augment.sizes=8,16',
     'config.augment.sizes=None has the wrong type'),
    ('config.seed = 10**5000', '--config.seed=1', 'config.seed=<int> is out'),
])
def test_flags_do_not_hide_them(refused_recipe, line, flag, words):
  assert words in refused_recipe(_CONFIG.format(line), flag)
