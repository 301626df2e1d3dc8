"""Checks all machines of a job before it starts. Nothing is trained.

Start it as you would start the trainer, with the same flags, in the same
places:

  python -m launch.doctor -- --config=imagenet_resnet50 --workdir=RUN
  srun python -m launch.doctor -- --strategy=multi_worker_mirrored ...
  python -m launch.local --workers=2 --module=launch.doctor -- --config=...

The ranks call each other on the trainer's own ports. Each checks its devices,
versions, data set and --workdir. The chief prints a table and one sentence for
each problem, and all ranks exit with the same code: 0 if all is well, 2 if
something must be fixed first. This takes as long as importing TensorFlow, and
at most --wait_secs longer if a worker does not answer.
"""
import asyncio
from collections.abc import Iterable, Mapping, Sequence
import contextlib
import platform
import signal
import sys

from absl import flags

from configs.process import command_line
from configs.process.errors import UserError
from launch import trainer_command
from launch.cluster import cluster_flags, contract, resolver
from launch.doctor import diagnosis, rendezvous, reports, table
from launch.doctor import survey as survey_lib
from launch.doctor import workdir as workdir_lib
from launch.doctor.reports import Finding

_ALONE = (None,)  # Addresses of a process without a cluster.


def parse(argv: list[str]) -> list[str]:
  """Defines and reads the flags; returns all others, the trainer's."""
  flags.DEFINE_float(
      'wait_secs', 60.0, 'Seconds to wait for all workers to answer.',
      lower_bound=0)
  words = _known(flags.FLAGS, argv)
  if '--' in words:
    words.remove('--')
  trainer_command.answer_help(words[1:])
  return words[1:]


def main(trainer_flags: Sequence[str]) -> int:
  """Runs the doctor; returns its exit code."""
  return examine(find_cluster(trainer_flags),
                 survey_lib.command(trainer_flags), flags.FLAGS.wait_secs)


def find_cluster(trainer_flags: Sequence[str]) -> resolver.Cluster | None:
  """Returns the cluster that the trainer would find; None if it is alone.

  A cluster in the environment counts even if the trainer's flags let it train
  alone: the cluster is probably meant.

  Raises:
    UserError: the flags or the environment are wrong.
  """
  values = flags.FlagValues()
  cluster_flags.define(values)
  flags.DEFINE_string('strategy', '', '', flag_values=values)
  _known(values, ['', *trainer_flags])
  try:
    return cluster_flags.get(values)
  except resolver.NoCluster:
    if values.strategy == contract.MULTI_WORKER:
      raise
    return None


def examine(cluster: resolver.Cluster | None, survey_command: Sequence[str],
            wait_secs: float) -> int:
  """Checks this rank together with the others; prints what is wrong.

  Args:
    cluster: all ranks, and which of them this is; None: this machine alone.
    survey_command: words, see launch.doctor.survey.
    wait_secs: how long all ranks may take to start.

  Returns:
    The exit code.
  """
  async def ended_by_signals():
    task = asyncio.current_task()
    assert task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    if cluster is None:
      return await _examine_alone(survey_command)
    return await _examine(cluster, survey_command, wait_secs)

  try:
    return asyncio.run(ended_by_signals())
  except asyncio.CancelledError:
    return 128 + signal.SIGTERM


async def _examine_alone(survey_command):
  report = reports.Report(0, platform.node(), '', final=True)
  survey, sentences = await survey_lib.ask(survey_command)
  with contextlib.ExitStack() as marks:
    _, workdir, more = _leave_mark(survey, marks)
  return _show(_ALONE, {0: report._replace(
      survey=survey, workdir=workdir, problems=tuple(
          Finding(reports.OTHER, text) for text in (*sentences, *more)))})


async def _examine(cluster, survey_command, wait_secs):
  async with rendezvous.Peers(cluster, wait_secs, _say) as peers:
    survey, sentences = await survey_lib.ask(survey_command)
    peers.update(survey=survey)
    for sentence in sentences:
      peers.add_problem(sentence)
    if cluster.rank:
      return await _follow(peers, cluster.addresses)
    return await _lead(peers, cluster.addresses)


async def _lead(peers, addresses):
  """Does what the chief does; returns the exit code."""
  with contextlib.ExitStack() as marks:
    name, workdir, sentences = _leave_mark(peers.own.survey, marks)
    for sentence in sentences:
      peers.add_problem(sentence)
    peers.update(mark=name, workdir=workdir)
    await peers.all_tried()
    peers.update(final=True)
    await peers.all_final()
  found = {0: peers.own, **peers.heard}
  code = _code(diagnosis.problems(addresses, found))
  untold = await peers.tell(code)
  for rank in untold:
    found[rank] = found[rank]._replace(final=False)
  return _show(addresses, dict(sorted(found.items())))


async def _follow(peers, addresses):
  """Does what all other ranks do; returns the exit code."""
  name, survey = await peers.mark_of_chief(), peers.own.survey
  if name and survey:
    if not await workdir_lib.is_seen(survey['workdir'], name):
      peers.update(workdir=reports.NOT_SHARED)
    else:
      try:
        workdir_lib.check_writable(survey['workdir'])
        peers.update(workdir=reports.SHARED)
      except UserError as error:
        peers.add_problem(str(error))
        peers.update(workdir=reports.NOT_WRITABLE)
  await peers.all_tried()
  peers.update(final=True)
  verdict = await peers.verdict_of_chief()
  if verdict is None:
    _complain([*(problem.text for problem in peers.own.problems),
               diagnosis.no_verdict(
                   addresses, peers.own, peers.heard.get(0), peers.why(0))])
    return command_line.PERMANENT
  return command_line.DONE if verdict == 0 else command_line.PERMANENT


def _leave_mark(survey, marks):
  """Leaves the chief's mark for as long as an ExitStack is open.

  Returns:
    (its name, what was found out about the workdir, problems as sentences).
  """
  if not survey:
    return '', '', []
  try:
    name = marks.enter_context(workdir_lib.mark(survey['workdir']))
    return name, reports.WRITABLE, []
  except UserError as error:
    return '', reports.NOT_WRITABLE, [str(error)]


def _show(addresses: Sequence[str | None],
          found: Mapping[int, reports.Report]) -> int:
  """Prints the table and what is wrong; returns the exit code."""
  for line in table.table(addresses, found):
    print(line)
  problems = diagnosis.problems(addresses, found)
  sys.stdout.flush()
  _complain(problem.sentence for problem in problems if problem.fatal)
  for problem in problems:
    if not problem.fatal:
      command_line.warn(problem.sentence)
  code = _code(problems)
  if code == command_line.DONE:
    print(table.conclusion(addresses, found), flush=True)
  return code


def _complain(sentences: Iterable[str]) -> None:
  for sentence in sentences:
    print(f'error: {sentence}', file=sys.stderr, flush=True)


def _code(problems):
  return (command_line.PERMANENT if any(p.fatal for p in problems)
          else command_line.DONE)


def _say(text):
  print(text, file=sys.stderr, flush=True)


def _known(values: flags.FlagValues, argv: list[str]) -> list[str]:
  """Reads the flags that `values` defines; returns argv without them."""
  try:
    return command_line.read_flags(argv, values, known_only=True)
  except flags.Error as error:
    raise UserError(command_line.sentence(error, values)) from error


def run() -> None:
  """Runs the installed command."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
