"""The version of the project, readable without TensorFlow."""

VERSION = '0.1.0'
