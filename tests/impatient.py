"""resnet.train, which soon says for whom it waits; tests/waiting_test.py starts
it.
"""
from resnet import train
from resnet import workers

workers._SAID_EVERY_SECS = 0.5
main, parse = train.main, train.parse
