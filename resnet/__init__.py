"""The network, its update on devices, the training loop, and the programs."""
from configs.process import version

__version__ = version.VERSION
