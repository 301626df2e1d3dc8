"""From the loss to the update of the weights."""
