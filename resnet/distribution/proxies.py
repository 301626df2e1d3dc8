"""Keeps TensorFlow's connections between workers away from proxies.

gRPC sends every connection through the proxy that http_proxy, https_proxy or
grpc_proxy names, even one to 127.0.0.1, unless no_grpc_proxy (or no_proxy, if
there is no no_grpc_proxy) lists the host. What is not gRPC, such as the
downloads of TFDS, keeps using the proxy.
"""
from collections.abc import MutableMapping, Sequence

from launch.cluster import addresses

_DIRECT, _DIRECT_IF_UNSET = 'no_grpc_proxy', 'no_proxy'
# This one takes precedence over the list of hosts.
_BY_ADDRESS = 'GRPC_ADDRESS_HTTP_PROXY'


def bypass(workers: Sequence[str], environ: MutableMapping[str, str]) -> None:
  """Makes gRPC connect to workers directly; call it before it connects.

  Args:
    workers: 'host:port' of each.
    environ: the environment of this process, which is changed.
  """
  # gRPC compares the hosts as they are written, without their ports.
  hosts = list(dict.fromkeys(addresses.split(one)[0] for one in workers))
  given = environ.get(_DIRECT, environ.get(_DIRECT_IF_UNSET, ''))
  environ[_DIRECT] = ','.join(([given] if given else []) + hosts)
  environ.pop(_BY_ADDRESS, None)
