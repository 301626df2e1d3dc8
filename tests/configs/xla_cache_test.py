"""XLA keeps what it compiles in a folder of the user's cache."""
from configs.process import xla_cache


def test_the_folder_is_created_and_named_to_xla(tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  monkeypatch.setenv('TF_XLA_FLAGS', '--tf_xla_auto_jit=2')
  xla_cache.use()
  folder = tmp_path / 'resnet-trainer' / 'xla'
  assert folder.is_dir()
  assert xla_cache.os.environ['TF_XLA_FLAGS'] == (
      f'--tf_xla_auto_jit=2 --tf_xla_persistent_cache_directory={folder}')


def test_a_folder_that_the_user_chose_is_kept(tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  own = '--tf_xla_persistent_cache_directory=/own'
  monkeypatch.setenv('TF_XLA_FLAGS', own)
  xla_cache.use()
  assert xla_cache.os.environ['TF_XLA_FLAGS'] == own
  assert not list(tmp_path.iterdir())


def test_without_a_writable_cache_nothing_is_set(tmp_path, monkeypatch):
  (tmp_path / 'file').write_text('')
  monkeypatch.setenv('XDG_CACHE_HOME', f'{tmp_path}/file')
  monkeypatch.delenv('TF_XLA_FLAGS', raising=False)
  xla_cache.use()
  assert 'TF_XLA_FLAGS' not in xla_cache.os.environ
