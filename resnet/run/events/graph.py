"""The network as TensorBoard's Graphs tab shows it: a node for each layer.

It is read from Keras's description of the network, in milliseconds: nothing is
traced, and the graph of a large network has some 100 kB. Stages and blocks are
boxes that open with a click; edges carry the shapes.
"""
import math
import re
from typing import Any

import keras
from tensorboard.compat.proto import graph_pb2, node_def_pb2, versions_pb2

# Of layers in a stage and a block: stem_conv, stage1_block1_conv1.
_PLACE = re.compile(r'(stem|(?:stage|conv)\d+)_(?:(block\d+)_)?(.+)')
# Pyright does not see the names that protocol buffers define at run time.
_GraphDef = graph_pb2.GraphDef  # pyright: ignore[reportAttributeAccessIssue]
_NodeDef = node_def_pb2.NodeDef  # pyright: ignore[reportAttributeAccessIssue]
_VersionDef = versions_pb2.VersionDef  # pyright: ignore[reportAttributeAccessIssue]


def of(model: keras.Model) -> Any:
  """Returns the graph_pb2.GraphDef of a network.

  It is empty if the network does not say which layer follows which: a
  subclass of keras.Model.
  """
  return _GraphDef(
      node=[_node(operation, uses) for operation in getattr(
          model, 'operations', ()) if (uses := operation._inbound_nodes)],
      versions=_VersionDef(producer=22))


def _node(operation, uses):
  """Returns the NodeDef of a layer, which may be used several times."""
  node = _NodeDef(name=_path(operation.name), op=type(operation).__name__,
                  input=[_path(parent.operation.name)
                         for use in uses for parent in use.parent_nodes])
  for tensor in uses[-1].outputs:
    shape = node.attr['_output_shapes'].list.shape.add()
    for size in tensor.shape:
      shape.dim.add(size=-1 if size is None else size)
  weights = sum(math.prod(variable.shape) for variable in getattr(
      operation, 'trainable_weights', ()))
  if weights:
    node.attr['weights'].i = weights
  return node


def _path(name):
  """Returns a layer's name with its boxes, 'stage1/block1/conv1'."""
  match = _PLACE.fullmatch(name)
  return '/'.join(filter(None, match.groups())) if match else name
