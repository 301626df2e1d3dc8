"""What is behind the sums of an evaluation, as a dict that JSON can hold."""
from collections.abc import Sequence
from typing import Any

from resnet.evaluation import calibration, confusion, per_class, temperature
from resnet.evaluation.examples import Examples

_MOST_PAIRS = 100  # Of confused classes.


def of(examples: Examples, names: Sequence[str]) -> dict[str, Any]:
  """Returns the details of an evaluation.

  Args:
    examples: of the split.
    names: of the classes, in the order of their labels.

  Returns:
    {'mean_class_accuracy', 'confidence' (the mean), 'ece', 'calibration':
    [bins], 'classes': [a dict each], 'confused': [the most frequent pairs],
    'skipped_examples': [their numbers]}.
  """
  bins = calibration.bins(examples.probability, examples.correct)
  classes = per_class.figures(examples.label, examples.predicted, names)
  pairs = confusion.pairs(examples.label, examples.predicted)
  return {
      'mean_class_accuracy': per_class.mean_accuracy(classes),
      'confidence': float(examples.probability.mean()),
      'ece': calibration.error(bins),
      'calibration': [one._asdict() for one in bins],
      'classes': [{'label': one.label, 'class': one.name,
                   'examples': one.examples, 'predicted': one.predicted,
                   'correct': one.correct, 'accuracy': one.recall,
                   'precision': one.precision, 'recall': one.recall}
                  for one in classes],
      'confused': [{'label': names[pair.label],
                    'predicted': names[pair.predicted],
                    'examples': pair.examples,
                    'of': classes[pair.label].examples}
                   for pair in pairs[:_MOST_PAIRS]],
      'skipped_examples': examples.skipped.tolist()}


def temperature_of(examples: Examples, loss: str,
                   split: str) -> dict[str, Any]:
  """Fits a temperature; the logits of the examples must have been kept.

  Args:
    examples: of the split.
    loss: see schema.Config.
    split: its name.

  Returns:
    {'temperature', 'fitted_on' (the split), 'loss_before', 'loss_after',
    'ece_before', 'ece_after', 'at_bound' (whether the best temperature may be
    outside of the range that is tried)}.
  """
  logits = examples.logits
  assert logits is not None
  fitted = temperature.fit(logits, examples.label, loss)
  values: dict[str, Any] = {'temperature': fitted, 'fitted_on': split}
  for word, divisor in (('before', 1.0), ('after', fitted)):
    slope = temperature.slope(logits, examples.label, 1 / divisor, loss)
    values[f'loss_{word}'] = slope.loss
    values[f'ece_{word}'] = calibration.error(calibration.bins(
        temperature.top_probability(logits / divisor, loss), examples.correct))
  values['at_bound'] = fitted in (temperature.LOWEST, temperature.HIGHEST)
  return values
