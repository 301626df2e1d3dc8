"""What a residual network can have that those of He et al. do not."""
from collections.abc import Callable
import dataclasses


def _not_given(*_):
  raise TypeError('This network needs draw_skips and draw_dropout.')


@dataclasses.dataclass(frozen=True)
class Additions:
  """The settings of a network beyond those of resnet.build; here: nothing.

  Attributes:
    inner_width: of bottlenecks: the first two convolutions have this many times
      the channels of the papers.
    groups: of the 3x3 convolution of bottlenecks.
    squeeze_excite: by how much it reduces the channels, at the end of what each
      block adds to its shortcut. 0: there is none.
    blur_pool: whether a BlurPool takes the stride of each block's convolution,
      after the ReLU that follows it, that of max-pooling, after it, and that of
      a projection, before it. Shortcut D has its mean instead, and the first
      convolution of the network keeps its stride.
    stochastic_depth: probability of skipping the last block while training;
      that of block l of L, counted from 1, is l / L of it.
    dropout: share of the pooled features that is dropped before the last layer.
    draw_skips: random numbers for stochastic_depth; see Dropout.
    draw_dropout: random numbers for dropout; see Dropout.
  """
  inner_width: int = 1
  groups: int = 1
  squeeze_excite: int = 0
  blur_pool: bool = False
  stochastic_depth: float = 0.0
  dropout: float = 0.0
  draw_skips: Callable = _not_given
  draw_dropout: Callable = _not_given
