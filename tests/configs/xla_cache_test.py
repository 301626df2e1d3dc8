"""Where XLA keeps what it compiles."""
from configs.process import xla_cache


def test_a_folder_of_the_users_cache(tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  monkeypatch.setenv('TF_XLA_FLAGS', '--tf_xla_auto_jit=2')
  xla_cache.use()
  folder = tmp_path / 'resnet-trainer' / 'xla'
  assert folder.is_dir()
  assert xla_cache.os.environ['TF_XLA_FLAGS'] == (
      f'--tf_xla_auto_jit=2 --tf_xla_persistent_cache_directory={folder}')


def test_the_users_own_choice_stays(tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  own = '--tf_xla_persistent_cache_directory=/own'
  monkeypatch.setenv('TF_XLA_FLAGS', own)
  xla_cache.use()
  assert xla_cache.os.environ['TF_XLA_FLAGS'] == own
  assert not list(tmp_path.iterdir())


def test_a_cache_that_cannot_be_made_is_done_without(tmp_path, monkeypatch):
  (tmp_path / 'file').write_text('')
  monkeypatch.setenv('XDG_CACHE_HOME', f'{tmp_path}/file')
  monkeypatch.delenv('TF_XLA_FLAGS', raising=False)
  xla_cache.use()
  assert 'TF_XLA_FLAGS' not in xla_cache.os.environ
