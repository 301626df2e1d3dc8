"""The network, its update on the devices, the training loop, and the programs."""
__version__ = '0.1.0'
