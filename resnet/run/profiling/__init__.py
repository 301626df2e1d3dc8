"""Records which operations the time of some steps goes to."""
