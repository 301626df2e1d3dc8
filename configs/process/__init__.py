"""How every process of the project starts and ends."""
