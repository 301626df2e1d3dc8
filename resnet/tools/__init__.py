"""Programs that measure or inspect; none of them trains for its own sake."""
