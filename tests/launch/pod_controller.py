"""The Job controller of pods.run, a process in its own namespaces.

Reads a line of JSON, {'objects', 'image', 'signals', 'claims', 'logs'}, and
writes a pods.Ended as JSON. Kills all pods if its input ends before.
"""
import json
import os
import signal
import sys
import threading
import time

from tests.launch import pods


def _control(node, objects, job, signals):
  """Runs the pods of a Job to its end; returns a pods.Ended as a dict."""
  spec = job['spec']
  rules = spec.get('podFailurePolicy', {}).get('rules', ())
  ended, failed, reason = [], 0, ''
  running, waiting = {}, list(range(spec['completions']))
  while (running or waiting) and not reason:
    # As many as may run at once, and one for each index.
    while waiting and len(running) < spec['parallelism']:
      index = waiting.pop(0)
      running[index] = pods.Pod(node, objects, job, index)
    signals = [one for one in signals if not _signal(running, *one)]
    for pod, code in _ends(running):
      done = (pods.action(rules, code, pod.disrupted) if code else 'Succeed')
      ended.append([pod.index, code, done])
      failed += done == 'Count'
      if done == 'FailJob':
        reason = 'PodFailurePolicy'
      elif failed > spec['backoffLimit']:
        reason = 'BackoffLimitExceeded'
      elif code:
        waiting.append(pod.index)
    time.sleep(pods.POLL_SECS)
  for pod in running.values():
    pod.delete()
  while running:
    ended += [[pod.index, code, 'Delete'] for pod, code in _ends(running)]
    time.sleep(pods.POLL_SECS)
  return {'status': 'Failed' if reason else 'Complete', 'reason': reason,
          'failed': failed, 'pods': ended}


def _ends(running):
  """Removes the pods that have ended; returns them and their exit codes."""
  ends = [(pod, pod.ended()) for pod in running.values()]
  ends = [(pod, code) for pod, code in ends if code is not None]
  for pod, _ in ends:
    del running[pod.index]
  return ends


def _signal(running, index, path, how):
  """Sends a signal if it is due; returns whether it was."""
  if index not in running or not os.path.exists(path):
    return False
  if how == 'preempt':
    running[index].disrupted = True
    running[index].delete()
  else:
    running[index].send(signal.Signals[how])
  return True


def _main():
  request = json.loads(sys.stdin.readline())

  def end_with_the_caller():
    while os.read(sys.stdin.fileno(), 1):
      pass
    os._exit(1)  # All others end with it: it is process 1.

  threading.Thread(target=end_with_the_caller, daemon=True).start()
  objects = request['objects']
  job, = (one for one in objects if one['kind'] == 'Job')
  ended = _control(pods.Node(request), objects, job, request['signals'])
  print(json.dumps(ended), flush=True)


if __name__ == '__main__':
  _main()
