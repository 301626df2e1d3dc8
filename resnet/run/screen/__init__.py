"""What a run shows while it trains: opening, progress and end."""
