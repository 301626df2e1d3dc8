"""From the environment to the addresses of the workers."""
