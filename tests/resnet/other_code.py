"""resnet.train, as of another version of its code; tests/workers_test.py starts
it.
"""
from resnet import train
from resnet.run import software

software.code_digest = lambda: 'of other code'
main, parse = train.main, train.parse
