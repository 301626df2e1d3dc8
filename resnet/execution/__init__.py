"""Where and how a run executes: options as plain values, and their flags."""
