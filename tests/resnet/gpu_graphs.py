"""Reads from graphs what GPUs would do with them, without a GPU.

The logical devices CPU:1 and CPU:2 stand for GPUs; CPU:0 is the host. What a
program places on CPU:0 it would place there on a machine with GPUs too; what it
places nowhere goes to a GPU if there is a kernel. Functions that XLA compiles
are left out: they run wherever XLA has a backend.

  without_kernel(Graph.of(function.get_concrete_function()))
"""
from collections.abc import Iterator
import functools
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.python.framework import kernels, op_def_registry

DEVICES = ('CPU:1', 'CPU:2')
_HOST = 'CPU:0'
_CONDITIONALS = ('If', 'StatelessIf', 'Case', 'StatelessCase')
_SMALL = {tf.uint8, tf.uint16, tf.uint32, tf.int16}


class Graph(NamedTuple):
  """A traced function with all functions that it calls."""
  root: Any  # FunctionDef.
  functions: dict[str, Any]  # Name -> FunctionDef.

  @classmethod
  def of(cls, concrete) -> 'Graph':
    """Returns the graph of a concrete function."""
    library = concrete.graph.as_graph_def().library.function
    return cls(concrete.function_def, {f.signature.name: f for f in library})


class Node(NamedTuple):
  """A node outside of XLA."""
  function: Any  # FunctionDef that it is in.
  definition: Any  # NodeDef.
  device: str  # As 'CPU:1'; '' if it is placed nowhere.
  inputs: list[tf.DType]
  outputs: list[tf.DType]
  compiled: bool  # Whether it calls what XLA compiles.

  @property
  def op(self) -> str:
    """The type of its operation."""
    return self.definition.op

  def __str__(self):
    types = ', '.join(dtype.name for dtype in self.inputs)
    return f'{self.op}({types}) on {self.device or "no device"}'


def nodes(graph: Graph, branches: bool = True) -> Iterator[Node]:
  """Yields the nodes outside of XLA, those of called functions included.

  Args:
    graph: the graph.
    branches: whether to include what only some steps execute.
  """
  yield from _nodes(graph, graph.root, '', branches)


def _nodes(graph, function, caller_device, branches=True):
  for definition in function.node_def:
    device = device_name(definition.device) or caller_device
    compiled = _is_compiled(graph, definition)
    yield Node(function, definition, device, *_types(graph, definition),
               compiled)
    if not compiled and (branches or definition.op not in _CONDITIONALS):
      for name in _called(graph, definition):
        yield from _nodes(graph, graph.functions[name], device, branches)


def device_name(device):
  """Returns a name like 'CPU:1'; '' if it does not name a device."""
  spec = tf.DeviceSpec.from_string(device)
  return f'{spec.device_type}:{spec.device_index}' if spec.device_type else ''


def _called(graph, definition):
  """Returns the names of the functions that a node calls."""
  named = [definition.op]
  for value in definition.attr.values():
    named += [value.func.name, *(f.name for f in value.list.func)]
  return [name for name in named if name in graph.functions]


def _is_compiled(graph, definition):
  """Returns whether XLA compiles what a node calls."""
  holders = [definition, *(graph.functions[name]
                           for name in _called(graph, definition))]
  return any('_XlaMustCompile' in holder.attr
             and holder.attr['_XlaMustCompile'].b for holder in holders)


def _types(graph, definition):
  """Returns (types of the inputs, types of the outputs) of a node."""
  if definition.op in graph.functions:
    signature: Any = graph.functions[definition.op].signature
  else:
    signature = op_def_registry.get(definition.op)
  attributes = _attributes(definition)
  return tuple([dtype for argument in arguments
                for dtype in _argument_types(argument, attributes)]
               for arguments in (signature.input_arg, signature.output_arg))


def _argument_types(argument, attributes):
  if argument.type_list_attr:
    types = list(attributes[argument.type_list_attr].list.type)
  else:
    types = [attributes[argument.type_attr].type if argument.type_attr
             else argument.type]
  if argument.number_attr:
    types *= attributes[argument.number_attr].i
  return [tf.as_dtype(dtype) for dtype in types]


def _attributes(definition):
  """Returns the attributes of a node, those that it leaves out included."""
  known = op_def_registry.get(definition.op)
  defaults = {a.name: a.default_value for a in known.attr} if known else {}
  return {**defaults, **definition.attr}


def without_kernel(graph: Graph) -> set[str]:
  """Returns the nodes that no GPU could run, unless they are on the host.

  A clock is read on the host wherever it is.
  """
  return {str(node) for node in nodes(graph)
          if node.device != _HOST and node.op != 'Timestamp'
          and not gpu_kernel(node.definition)}


def gpu_kernel(definition) -> Any:
  """Returns the KernelDef that runs a node on a GPU; None if there is none."""
  attributes = _attributes(definition)
  return next((kernel for kernel in _gpu_kernels(definition.op)
               if all(_allows(c, attributes) for c in kernel.constraint)), None)


@functools.cache
def _gpu_kernels(op):
  found = kernels.get_registered_kernels_for_op(op).kernel
  # DEFAULT is what devices use that have no kernel of their own.
  return [k for device in ('GPU', 'DEFAULT') for k in found
          if k.device_type == device and not k.label]


def _allows(constraint, attributes):
  value = attributes[constraint.name]
  allowed = constraint.allowed_values.list.type
  return all(dtype in allowed for dtype in value.list.type or [value.type])


def with_small_integers(graph: Graph) -> set[str]:
  """Returns the nodes that make or take small integers, outside of XLA.

  For arithmetic on them there are few kernels, so that they would travel to the
  host and back. Two kinds of nodes only hand them over: the iterator, whose
  batches are on the device, and the call of what XLA compiles.
  """
  return {str(node) for node in nodes(graph)
          if _SMALL & {*node.inputs, *node.outputs}
          and not node.compiled and node.op != 'IteratorGetNext'}


def in_step(graph: Graph) -> Iterator[Node]:
  """Yields the nodes outside of XLA of one step: one pass through the loop."""
  loop = _loop(graph)
  return _nodes(graph, _part(graph, loop, 'body') if loop else graph.root, '')


def _loop(graph):
  """Returns the loop over the steps of a call; None if there is none."""
  loops = [node for node in nodes(graph)
           if node.op in ('While', 'StatelessWhile')]
  assert len(loops) <= 1
  return loops[0] if loops else None


def _part(graph, loop, name):
  """Returns the condition, 'cond', or the 'body' of the loop."""
  return graph.functions[loop.definition.attr[name].func.name]


def in_condition(graph: Graph) -> list[str]:
  """Returns what the loop's condition depends on that a device computes.

  It may depend on integers, and on nodes that are on the host or whose GPU
  kernels compute in the host's memory.
  """
  loop = _loop(graph)
  if not loop:
    return []
  condition = _part(graph, loop, 'cond')
  used, involved = _needed(condition)
  return [f'{node.op} in {condition.signature.name}' for node in involved
          if not _computes_on_host(node)] + [
      f'{dtype.name} {argument.name}'
      for i, argument in enumerate(condition.signature.input_arg)
      if i in used and not (dtype := tf.as_dtype(argument.type)).is_integer]


def decided_by_devices(graph: Graph) -> list[str]:
  """Returns the conditionals of a step whose predicate a device computes."""
  found = []
  for node in in_step(graph):
    if node.op in _CONDITIONALS:
      predicate = source(node.definition.input[0])
      by_name = {other.name: other for other in node.function.node_def}
      if not _computes_on_host(by_name[predicate]):
        found.append(f'{node} by {predicate}')
  return found


def _computes_on_host(definition):
  if device_name(definition.device) == _HOST:
    return True
  if definition.op == 'Identity':  # Of results. TensorFlow removes it.
    return True
  kernel, known = gpu_kernel(definition), op_def_registry.get(definition.op)
  return bool(kernel) and {a.name for a in known.output_arg} <= set(
      kernel.host_memory_arg)


def _needed(function):
  """Returns ({which arguments}, [nodes]) that a function's results need.

  Control inputs count, too.
  """
  by_name = {node.name: node for node in function.node_def}
  arguments = [a.name for a in function.signature.input_arg]
  names = [source(reference) for reference in function.ret.values()]
  found = set()
  while names:
    name = names.pop()
    if name not in found:
      found.add(name)
      names += [source(ref) for ref in getattr(by_name.get(name), 'input', ())]
  return ({arguments.index(name) for name in found - set(by_name)},
          [by_name[name] for name in found & set(by_name)])


def source(reference):
  """Returns the node or argument that an input like 'node:out:0' names."""
  return reference.removeprefix('^').partition(':')[0]
