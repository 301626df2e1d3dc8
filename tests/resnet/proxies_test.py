"""Workers connect to each other directly, whatever proxy the user has set."""
import json
import socket

import pytest

from launch.local import worker_environment
from resnet.distribution import proxies
from tests import processes


@pytest.mark.parametrize('given, expected', [
    ({}, 'a,10.0.0.1,::1'),
    ({'no_proxy': 'x, .y'}, 'x, .y,a,10.0.0.1,::1'),
    # gRPC ignores no_proxy if there is a no_grpc_proxy, even an empty one.
    ({'no_proxy': 'x', 'no_grpc_proxy': 'z'}, 'z,a,10.0.0.1,::1'),
    ({'no_proxy': 'x', 'no_grpc_proxy': ''}, 'a,10.0.0.1,::1'),
    ({'GRPC_ADDRESS_HTTP_PROXY': 'p:1'}, 'a,10.0.0.1,::1')])
def test_hosts_are_added_for_grpc_alone(given, expected):
  environ = {'http_proxy': 'http://p:1', 'HTTPS_PROXY': 'http://p:1', **given}
  proxies.bypass(['a:1', '10.0.0.1:2222', 'a:2', '[::1]:3'], environ)
  given.pop('GRPC_ADDRESS_HTTP_PROXY', None)
  assert environ == {'http_proxy': 'http://p:1', 'HTTPS_PROXY': 'http://p:1',
                     **given, 'no_grpc_proxy': expected}


_NOWHERE = 'http://127.0.0.1:9'
_PROXIES = {
    **{name: _NOWHERE for word in ('http', 'https', 'all', 'grpc')
       for name in (f'{word}_proxy', f'{word.upper()}_PROXY')},
    'no_proxy': 'example.org', 'GRPC_ADDRESS_HTTP_PROXY': '127.0.0.1:9',
    'GRPC_ADDRESS_HTTP_PROXY_ENABLED_ADDRESSES': '0.0.0.0/0,::/0'}


@pytest.mark.slow
def test_workers_join_although_a_proxy_is_set(tmp_path):
  hosts = ['localhost', '[::1]' if socket.has_ipv6 else '127.0.0.1']
  addresses = [f'{host}:{port}' for host, port in zip(
      hosts, worker_environment.free_ports(2))]
  started = [processes.start(
      'resnet.train', '--strategy=multi_worker_mirrored',
      '--config.model.width=4', '--config.train_epochs=0',
      '--config.train_steps=2', '--config.schedule.warmup_epochs=0',
      '--start_secs=20', f'--workdir={tmp_path}/run',
      environment={**_PROXIES, 'TF_CONFIG': json.dumps({
          'cluster': {'worker': addresses},
          'task': {'type': 'worker', 'index': rank}})})
             for rank in range(2)]
  for result in [processes.finish(*one) for one in started]:
    assert result.code == 0, result.err
