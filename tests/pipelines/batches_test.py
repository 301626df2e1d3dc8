"""Batches do not depend on hardware or first step; each example counts once.
"""
import numpy as np
import pytest
import tensorflow as tf

from pipelines import augmentation, batches, sources


def _source(size):
  """Makes images: all pixels of image i are i + 1, and its label is i % 7."""
  images = np.arange(size, dtype=np.uint8)[:, None, None, None]
  images = np.broadcast_to(images, (size, 4, 4, 1)) + np.uint8(1)
  labels = np.arange(size) % 7
  return sources.InMemory(tf.constant(images), tf.constant(labels, tf.int32), 7)


def _global_batches(source, replicas, workers=1, first=0, last=20, n=8):
  """Returns {key: [steps, n, ...]} of all replicas of all workers together."""
  local = replicas // workers
  parts = []
  for worker in range(workers):
    share = batches.Share(replicas, worker * local, local)
    stream = batches.train(source, seed=3, global_batch=n, first_step=first,
                           last_step=last, share=share)
    elements = list(stream.as_numpy_iterator())
    parts.append([elements[i:i + local]
                  for i in range(0, len(elements), local)])
  return {key: np.array([
      np.concatenate([e[key] for part in parts for e in part[step]])
      for step in range(last - first)]) for key in parts[0][0][0]}


@pytest.mark.parametrize('replicas, workers', [(2, 1), (4, 1), (4, 2), (4, 4)])
def test_hardware_does_not_change_the_batches(replicas, workers):
  source = _source(37)
  one = _global_batches(source, 1)
  many = _global_batches(source, replicas, workers)
  for key in one:
    np.testing.assert_array_equal(one[key], many[key], err_msg=key)

  def augmented(batch):
    flat = {k: v.reshape(-1, *v.shape[2:]) for k, v in batch.items()}
    return augmentation.crop_and_flip(
        tf.constant(flat['image']), flat['position'], seed=3, padding=2,
        flip=True).numpy()

  whole = augmented(one)
  assert (whole == 0).any()  # Some images are shifted.
  shared = np.concatenate([
      augmented({k: v[:, i::8] for k, v in many.items()})[:, None]
      for i in range(8)], axis=1).reshape(whole.shape)
  np.testing.assert_array_equal(whole, shared)


def test_epochs_follow_without_a_gap_and_use_every_example():
  stream = _global_batches(_source(37), 1, last=37)  # 8 epochs in 37 batches.
  examples = stream['image'][..., 0, 0, 0].reshape(8, 37).astype(int) - 1
  np.testing.assert_array_equal(np.sort(examples, 1),
                                np.tile(np.arange(37), (8, 1)))
  np.testing.assert_array_equal(stream['label'].ravel(), examples.ravel() % 7)
  np.testing.assert_array_equal(stream['position'].ravel(), np.arange(8 * 37))
  assert (stream['weight'] == 1).all()


@pytest.mark.parametrize('first', [1, 13, 10_000_000])
def test_a_stream_may_start_at_any_step(first):
  source = _source(37)
  late = _global_batches(source, 2, first=first, last=first + 2)
  earlier = _global_batches(source, 1, first=first - 1, last=first + 2)
  for key in late:
    np.testing.assert_array_equal(late[key], earlier[key][1:])


def test_batches_have_the_agreed_types_and_shapes():
  spec = batches.train(_source(37), seed=0, global_batch=8, first_step=0,
                       last_step=1).element_spec
  assert {k: (v.dtype.name, v.shape.as_list()) for k, v in spec.items()} == {
      'image': ('uint8', [8, 4, 4, 1]), 'label': ('int32', [8]),
      'position': ('int64', [8]), 'weight': ('float32', [8])}


@pytest.mark.parametrize('size', [1, 5, 11, 24])
@pytest.mark.parametrize('replicas', [1, 3])
@pytest.mark.parametrize('replica_batch', [2, 4])
def test_evaluation_has_each_example_once(size, replicas, replica_batch):
  source = _source(size)
  counted, lengths = [], []
  for replica in range(replicas):
    share = batches.Share(replicas, replica, 1)
    stream = list(batches.evaluate(
        source, replica_batch=replica_batch, share=share).as_numpy_iterator())
    lengths.append(len(stream))
    for batch in stream:
      assert batch['image'].shape == (replica_batch, 4, 4, 1)
      counted += (batch['image'][batch['weight'] == 1, 0, 0, 0] - 1).tolist()
  assert sorted(counted) == list(range(size))
  assert set(lengths) == {-(-size // (replica_batch * replicas))}


@pytest.mark.parametrize('size, most, replicas, batch, steps', [
    (30, 500, 1, 30, 1),  # No larger than needed.
    (30, 500, 8, 4, 1),
    (10_000, 500, 1, 500, 20),
    (501, 500, 1, 251, 2),  # Not 500 and 1, padded to 500.
    (11, 4, 2, 2, 3),
    (1, 500, 3, 1, 1),
    (7, 1, 3, 1, 3),  # Each replica has at least one.
])
def test_evaluation_is_divided_evenly(size, most, replicas, batch, steps):
  assert batches.eval_batch(size, most, replicas) == batch
  assert batches.eval_steps(size, batch, replicas) == steps


def test_evaluation_has_little_padding_in_the_fewest_steps():
  for size in range(1, 60):
    for most in (1, 2, 7, 30, 64):
      for replicas in (1, 2, 3, 8):
        batch = batches.eval_batch(size, most, replicas)
        steps = batches.eval_steps(size, batch, replicas)
        assert 1 <= batch <= -(-most // replicas)
        assert steps == -(-size // (-(-most // replicas) * replicas))
        assert 0 <= steps * batch * replicas - size < steps * replicas
