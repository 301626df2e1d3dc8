"""Stochastic depth (Huang et al. 2016, arXiv:1603.09382) for each example."""
from resnet.models.dropout import Dropout


class StochasticDepth(Dropout):
  """Dropout that keeps or drops all of an example.

  What is kept while training is divided by the probability of being kept, so
  that evaluation changes nothing; the paper multiplies at evaluation instead.
  """

  def mask_shape(self, x) -> tuple[int, ...]:
    """Returns the shape of an example's mask: one number, to be broadcast."""
    return (1,) * (len(x.shape) - 1)
