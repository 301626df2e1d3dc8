"""resnet.train, as of another version of its code; tests/workers_test.py starts
it.
"""
from resnet.run import software
from resnet.train import main as main
from resnet.train import parse as parse

software.code_digest = lambda: 'of other code'
