"""What is trained: every setting that can change the result, typed and checked.

Where and how a run executes (strategy, devices, folders, XLA, intervals) is set
by plain flags of the programs and is not part of the config.

Units: an epoch is one pass over the training split; image sizes are in pixels;
batches are global, over all replicas of all workers.
"""
from collections.abc import Mapping
import dataclasses
from typing import Any

from configs.process import typed_fields
from configs.process.typed_fields import at_least, off_or, one_of, share, within

# Sides of images and batches are bounded so that their products fit into the
# integers of TensorFlow, and so that a slip does not reserve all memory.
_MOST_PIXELS = 8192  # A side.
_MOST_IMAGES = 2**20  # A batch.
_MOST_EPOCHS = 10**6
_MOST_STEPS = 10**12
# Random numbers are keyed by 48 bits of the position: pipelines/threefry.py.
MOST_POSITIONS = 2**48


@dataclasses.dataclass
class Model:
  """The network. `resnet` has all fields; the others have batch norm's.

  keras_v1 and keras_v2 have `depth` too. configs/tutorials/ has a recipe for
  each of them. `own` is what the recipe's own build() returns, see
  resnet/models/own.py; it may use all fields.
  """
  name: str = one_of(
      'resnet', 'keras_v1', 'keras_v2', 'resnet18_cifar10', 'resnet18_cifar100',
      'resnet18_flip', 'resnet18_mnist', 'baseline', 'lenet5', 'alexnet8',
      'vgg16', 'inception10', 'own')
  family: str = one_of('cifar', 'imagenet')  # 3 stages; 4 stages.
  # cifar: 6n + 2 with basic blocks, 9n + 2 with bottleneck blocks. imagenet:
  # 18, 34, 50, 101 or 152.
  depth: int = within(1, 2000, 20)
  # v1: post-activation; v1.5: v1 with the stride on the 3x3 convolution; v2:
  # pre-activation.
  version: str = one_of('v1', 'v1.5', 'v2')
  block: str = one_of('basic', 'bottleneck')  # cifar; imagenet: by the depth.
  # cifar: 3x3 convolution; imagenet: 7x7 with stride 2, max-pool with stride 2;
  # deep: three 3x3 in place of the 7x7 (He et al. 2018, ResNet-C).
  stem: str = one_of('cifar', 'imagenet', 'deep')
  # Channels of the first stage; papers: 16 or 64.
  width: int = within(1, 1024, 16)
  # Bottlenecks: channels of the 3x3 convolution as a multiple of the paper's.
  inner_width: int = within(1, 64, 1)
  groups: int = within(1, 1024, 1)  # Of the 3x3 convolution of bottlenecks.
  # Where the shape changes. A: subsample and pad with zeros; B: 1x1
  # convolution; D: average-pool and 1x1 convolution (He et al. 2018); none: a
  # plain network without any shortcuts.
  shortcut: str = one_of('B', 'A', 'D', 'none')
  # By how much squeeze-excite reduces the channels; paper: 16. 0: off.
  squeeze_excite: int = within(0, 1024, 0)
  blur_pool: bool = False  # Blurs before each stride (Zhang 2019).
  # Probability of skipping the last block; it grows linearly with the depth.
  stochastic_depth: float = share(0.0)
  dropout: float = share(0.0)  # Before the classifier.
  # Whether each block starts as its shortcut alone. Not possible with v2.
  zero_init_last_gamma: bool = False
  sync_batch_norm: bool = False  # Statistics over the global batch.
  batch_norm_momentum: float = share(0.9)  # Weight of the old statistics.
  batch_norm_epsilon: float = within(0, 1, 1e-5)


@dataclasses.dataclass
class Data:
  """A prepared TFDS image-classification data set, `digits` or `synthetic`."""
  # digits, synthetic, or a name of TFDS: NAME, NAME:VERSION or NAME/CONFIG.
  name: str = 'digits'
  train_split: str = 'train'  # Or a slice, such as train[:90%].
  eval_split: str = 'test'  # Or a slice.
  # The mean that is subtracted: one per channel, or one per pixel and channel.
  center: str = one_of('channel', 'pixel')
  # Height and width that images of different sizes are cropped and resized to.
  # 0: all images already have the same size.
  image_size: int = within(0, _MOST_PIXELS, 0)
  # Evaluation with image_size: the central crop's share of the shorter side.
  eval_crop: float = within(0.01, 1, 0.875)
  # The same: height and width after the crop. 0: image_size.
  eval_size: int = within(0, _MOST_PIXELS, 0)
  interpolation: str = one_of('bilinear', 'bicubic')  # Of all resizing.
  eval_flip: bool = False  # Averages the logits of an image and its mirror.
  # Height and width that smaller images are padded to with zeros. 0: off.
  pad_to: int = within(0, _MOST_PIXELS, 0)
  # One value per channel, on a scale of 0 to 255. (): measured on train_split.
  mean: tuple[float, ...] = within(-1000, 1000, ())
  stddev: tuple[float, ...] = within(0, 1000, ())  # As mean.


@dataclasses.dataclass
class Synthetic:
  """What data.name=synthetic generates: noise with a pattern for each class."""
  examples: int = within(2, 10**8, 1000)  # For training, and for evaluation.
  # Height and width, unless data.image_size gives them.
  size: int = within(1, _MOST_PIXELS, 32)
  channels: int = within(1, 16, 3)  # Of an image.
  classes: int = within(2, 10**5, 10)  # Of all images.


@dataclasses.dataclass
class Augment:
  """Random changes to training images, a function of (seed, position) alone."""
  # With data.image_size: crops a random box that covers a share of the image
  # between these two. It is resized to image_size, or, if `sizes` is set, to
  # each of these sizes in turn, for equal parts of the run.
  smallest_crop: float = within(0, 1, 0.08)
  largest_crop: float = within(0, 1, 1.0)  # See smallest_crop.
  # Smallest and largest ratio of the box's width to its height.
  crop_ratio: tuple[float, ...] = within(0.01, 100, (3 / 4, 4 / 3))
  sizes: tuple[int, ...] = within(1, _MOST_PIXELS, ())  # See smallest_crop.
  # How often each example occurs in its batch. An epoch keeps its number of
  # images, so it has fewer different examples.
  repeats: int = within(1, _MOST_IMAGES, 1)
  # Black pixels added on each side before a random crop; 4 for CIFAR.
  crop_padding: int = within(0, _MOST_PIXELS, 0)
  # Shifts by up to this share of the sides; the border is filled with the
  # nearest pixel.
  shift: float = share(0.0)
  flip: bool = False  # Flips half of the images left to right.
  vertical_flip: bool = False  # Flips half of the images upside down.
  policy: str = one_of('none', 'rand_augment', 'trivial_augment',
                       'auto_cifar10', 'auto_imagenet')
  layers: int = within(1, 100, 2)  # rand_augment: operations per image.
  magnitude: float = within(0, 10, 9.0)  # rand_augment: their strength.
  # Color jitter by factors between 1 - x and 1 + x. 0: off.
  brightness: float = within(0, 100, 0.0)
  contrast: float = within(0, 100, 0.0)  # As brightness.
  saturation: float = within(0, 100, 0.0)  # As brightness.
  grayscale: float = within(0, 1, 0.0)  # Probability.
  blur: float = within(0, 1, 0.0)  # Probability of a Gaussian blur.
  # Side of the erased square in pixels. 0: off.
  cutout: int = within(0, _MOST_PIXELS, 0)
  erasing: float = within(0, 1, 0.0)  # Probability of an erased rectangle.
  # Alpha of the Beta distribution of the mixing ratio. 0: off.
  mixup: float = off_or(0.001, 100, 0.0)
  cutmix: float = off_or(0.001, 100, 0.0)  # As mixup.
  mix_probability: float = within(0, 1, 1.0)  # Of mixing a pair at all.
  mix_epochs: float = within(0, _MOST_EPOCHS, 0.0)  # Then it ends. 0: never.


@dataclasses.dataclass
class Optimizer:
  """How gradients change the weights."""
  name: str = one_of('sgd', 'adam', 'adamw', 'rmsprop', 'lars', 'lamb')
  momentum: float = share(0.9)  # sgd, rmsprop, lars.
  nesterov: bool = False  # sgd.
  beta_1: float = share(0.9)  # adam, adamw, lamb.
  beta_2: float = share(0.999)  # adam, adamw, lamb; rmsprop: of the squares.
  epsilon: float = within(0, 1, 1e-8)  # adam, adamw, rmsprop, lamb.
  trust: float = within(0, 100, 0.001)  # lars: the trust coefficient.
  # sgd, adam, rmsprop, lars: an L2 term in the gradient (He et al. 2015);
  # adamw, lamb: decoupled (Loshchilov & Hutter 2017).
  weight_decay: float = within(0, 10, 1e-4)
  # Patterns of the variables that it applies to; neither biases nor batch norm.
  decayed: tuple[str, ...] = ('*kernel',)
  # norm: of all gradients together; value: each number; adaptive: norms of
  # units relative to those of their weights (Brock et al. 2021).
  clip: str = one_of('none', 'norm', 'value', 'adaptive')
  clip_at: float = at_least(0, 1.0)  # The largest norm, number or ratio.
  # Parts of each replica's batch whose gradients are computed in turn, and
  # added.
  accumulate: int = within(1, 4096, 1)


@dataclasses.dataclass
class Schedule:
  """The learning rate over the run."""
  name: str = one_of('constant', 'step', 'cosine', 'polynomial')
  peak: float = at_least(0, 0.1)  # The rate after the warm-up.
  # Batch that `peak` and `end` are for: for others they scale linearly (Goyal
  # et al. 2017). 0: they are for any batch.
  peak_batch: int = within(0, _MOST_IMAGES, 0)
  end: float = at_least(0, 0.0)  # cosine, polynomial: the rate at the end.
  warmup_epochs: float = within(0, _MOST_EPOCHS, 0.0)  # Rises linearly from 0.
  # step: shares of the run after which the rate is multiplied by the next of
  # drop_factors; one factor serves for all.
  drops_at: tuple[float, ...] = share((0.5, 0.75))
  drop_factors: tuple[float, ...] = at_least(0, (0.1,))  # See drops_at.
  power: float = within(0, 100, 1.0)  # polynomial.


@dataclasses.dataclass
class Monitor:
  """What follows from a metric of the evaluations."""
  # Decides what is best: the largest value; the smallest loss.
  metric: str = one_of('accuracy', 'top5_accuracy', 'loss')
  # After this many evaluations without a new best, multiplies the learning rate
  # by plateau_factor, down to plateau_floor. 0: off.
  plateau_evals: int = within(0, 10**6, 0)
  plateau_factor: float = within(0, 1, 0.1)  # See plateau_evals.
  plateau_floor: float = at_least(0, 0.0)  # See plateau_evals.
  # Ends the run after this many evaluations without a new best. 0: off.
  stop_evals: int = within(0, 10**6, 0)


@dataclasses.dataclass
class Ema:
  """An exponential moving average of the weights and batch statistics."""
  decay: float = share(0.0)  # Weight of the old average. 0: off.
  warmup: bool = True  # The decay of update t is at most (1 + t) / (10 + t).
  evaluated: bool = True  # Evaluations use the average.


@dataclasses.dataclass
class Recovery:
  """What happens when the loss is not finite, or too high."""
  most: int = within(0, 1000, 0)  # Returns to the last checkpoint. 0: off.
  # The loss of a call is too high above this multiple of the last log point's.
  # 0: only when it is not finite.
  jump: float = within(0, 10**6, 0.0)
  rate_factor: float = within(0, 1, 0.5)  # Multiplies the rate at each return.
  skip: bool = False  # Leaves out the batches between checkpoint and failure.


@dataclasses.dataclass
class FineTune:
  """Which parts of the network train, and how fast; see --init_from.

  The parts of residual networks are stem, stage1, stage2, ... and head; those
  of the classic networks layer1, layer2, ... and head.
  """
  # Names of parts, or patterns of variables, that stay as they are. Their batch
  # norm stays at its statistics.
  frozen: tuple[str, ...] = ()
  # Multiplies the rate of a part once for each part between it and the end of
  # the network (Bao et al. 2021). 1: all rates are the same.
  layer_decay: float = within(0.01, 1, 1.0)


@dataclasses.dataclass
class Config:
  """Everything that can change the result of a run."""
  model: Model = dataclasses.field(default_factory=Model)
  data: Data = dataclasses.field(default_factory=Data)
  synthetic: Synthetic = dataclasses.field(default_factory=Synthetic)
  augment: Augment = dataclasses.field(default_factory=Augment)
  optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
  schedule: Schedule = dataclasses.field(default_factory=Schedule)
  monitor: Monitor = dataclasses.field(default_factory=Monitor)
  ema: Ema = dataclasses.field(default_factory=Ema)
  recovery: Recovery = dataclasses.field(default_factory=Recovery)
  finetune: FineTune = dataclasses.field(default_factory=FineTune)
  # sigmoid: each class by itself (Wightman et al. 2021).
  loss: str = one_of('softmax', 'sigmoid')
  class_weights: tuple[float, ...] = at_least(0, ())  # Of each class. (): 1.
  label_smoothing: float = share(0.0)  # What all classes share of a label.
  # Of computation: weights stay float32.
  precision: str = one_of('float32', 'bfloat16', 'float16')
  # What replicas send and sum gradients in; half the bytes with the last two.
  reduce_precision: str = one_of('float32', 'bfloat16', 'float16')
  global_batch: int = within(1, _MOST_IMAGES, 128)  # Images per update.
  # Images per step of an evaluation.
  eval_batch: int = within(1, _MOST_IMAGES, 500)
  # The length of the run: exactly one of the two is positive.
  train_epochs: float = within(0, _MOST_EPOCHS, 0.0)
  train_steps: int = within(0, _MOST_STEPS, 0)  # See train_epochs.
  seed: int = within(0, 2**32 - 1, 0)  # Of weights, order and augmentation.
  # The source of a recipe that has functions of its own: resnet/models/own.py.
  # It is set when the recipe is loaded.
  code: str = ''


def image_sizes(config: Config) -> set[int]:
  """Returns all sizes that images are resized to; none: they are not."""
  data = config.data
  if not data.image_size:
    return set()
  return {*(config.augment.sizes or (data.image_size,)),
          data.eval_size or data.image_size}


def loss_precision(config: Config) -> str:
  """Returns the precision that decides whether the loss is scaled.

  float16 has too few exponents for gradients, computed or summed.
  """
  if 'float16' in (config.precision, config.reduce_precision):
    return 'float16'
  return config.precision


def to_dict(config: Config) -> dict[str, Any]:
  """Returns nested dicts that json can write; tuples become lists."""
  return dataclasses.asdict(
      config, dict_factory=lambda items: {
          k: list(v) if isinstance(v, tuple) else v for k, v in items})


def from_dict(values: Mapping[str, Any]) -> Config:
  """Undoes to_dict. Fields that are missing get their default values.

  Raises:
    UserError: a field does not exist, or a group is not a dict.
  """
  return typed_fields.build(Config, values)


def differences(ours: Config, theirs: Config) -> list[str]:
  """Returns 'config.field: ours -> theirs' for each field that differs."""
  others = plain_fields(theirs)
  return [f'config.{path}: {value!r} -> {others[path]!r}'
          if path != 'code' else "the recipe's own functions"
          for path, value in plain_fields(ours).items()
          if value != others[path]]


def plain_fields(config: Config) -> dict[str, Any]:
  """Returns {'optimizer.name': value} of all fields, also those in groups."""
  return {field.path: field.value for field in typed_fields.plain(config)}
