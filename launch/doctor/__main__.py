"""Checks all machines of a job before it is started. Nothing is trained.

Start it just as the trainer would be, with the same flags, in the same places:

  python -m launch.doctor -- --config=imagenet_resnet50 --workdir=RUN
  srun python -m launch.doctor -- --strategy=multi_worker_mirrored ...
  python -m launch.local --workers=2 --module=launch.doctor -- --config=...

The ranks call each other on the trainer's own ports. Each looks at its devices,
versions, data set and --workdir; the chief prints a table and a sentence for
each problem, and all exit with the same code: 0 all is well; 2 something has to
be mended first. That takes as long as TensorFlow takes to be imported, and no
longer than --seconds more if somebody does not come.
"""
import asyncio
import contextlib
import platform
import signal
import sys

from absl import flags

from configs.process import command_line
from configs.process.errors import UserError
from launch.cluster import cluster_flags, resolver
from launch.doctor import diagnosis, reports, table
from launch.doctor import rendezvous as peers_lib
from launch.doctor import survey as survey_lib
from launch.doctor import workdir as workdir_lib

_STRATEGY = 'multi_worker_mirrored'
_ALONE = (None,)  # Addresses of a process without a cluster.


def parse(argv):
  """Defines and reads the flags; returns the trainer's: all others."""
  flags.DEFINE_float('seconds', 60.0, 'Seconds for all workers to come.',
                     lower_bound=0)
  words = _known(flags.FLAGS, argv)
  if '--' in words:
    words.remove('--')
  return words[1:]


def main(trainer_flags):
  """Runs the doctor; returns its exit code."""
  return examine(find_cluster(trainer_flags),
                 survey_lib.command(trainer_flags), flags.FLAGS.seconds)


def find_cluster(trainer_flags):
  """The cluster that the trainer would find; None if it would run alone.

  With flags of a trainer that would run alone, a cluster in the environment
  counts all the same: it is likely to be meant.

  Raises:
    UserError: flags or environment are wrong.
  """
  values = flags.FlagValues()
  cluster_flags.define(values)
  flags.DEFINE_string('strategy', '', '', flag_values=values)
  _known(values, ['', *trainer_flags])
  try:
    return cluster_flags.get(values)
  except resolver.NoCluster:
    if values.strategy == _STRATEGY:
      raise
    return None


def examine(job, survey_command, seconds):
  """Checks this rank together with the others; prints what is wrong.

  Args:
    job: cluster.Cluster; None: this machine alone.
    survey_command: words, see launch.doctor.survey.
    seconds: for all ranks to come.

  Returns:
    The exit code.
  """
  async def ended_by_signals():
    task = asyncio.current_task()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    if job is None:
      return await _examine_alone(survey_command)
    return await _examine(job, survey_command, seconds)

  try:
    return asyncio.run(ended_by_signals())
  except asyncio.CancelledError:
    return 128 + signal.SIGTERM


async def _examine_alone(survey_command):
  report = reports.Report(0, platform.node(), '', final=True)
  survey, problems = await survey_lib.ask(survey_command)
  with contextlib.ExitStack() as marks:
    _, workdir, more = _leave_mark(survey, marks)
  return _show(_ALONE, {0: report._replace(
      survey=survey, problems=(*problems, *more), workdir=workdir)})


async def _examine(job, survey_command, seconds):
  async with peers_lib.Peers(job, seconds, _say) as peers:
    survey, problems = await survey_lib.ask(survey_command)
    peers.update(survey=survey)
    for sentence in problems:
      peers.add_problem(sentence)
    if job.rank:
      return await _follow(peers, job.addresses)
    return await _lead(peers, job.addresses)


async def _lead(peers, addresses):
  """What the chief does; returns the exit code."""
  with contextlib.ExitStack() as marks:
    name, workdir, problems = _leave_mark(peers.own.survey, marks)
    for sentence in problems:
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
  """What all others do; returns the exit code."""
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
    _complain([*peers.own.problems, diagnosis.no_verdict(
        addresses, peers.own, peers.heard.get(0), peers.why(0))])
    return command_line.PERMANENT
  return command_line.DONE if verdict == 0 else command_line.PERMANENT


def _leave_mark(survey, marks):
  """Leaves the mark of the chief, for as long as an ExitStack is open.

  Returns:
    (its name, what was found of the workdir, list of sentences).
  """
  if not survey:
    return '', '', []
  try:
    name = marks.enter_context(workdir_lib.mark(survey['workdir']))
    return name, reports.WRITABLE, []
  except UserError as error:
    return '', reports.NOT_WRITABLE, [str(error)]


def _show(addresses, found):
  """Prints the table and what is wrong; returns the exit code."""
  for line in table.table(addresses, found):
    print(line)
  problems = diagnosis.problems(addresses, found)
  sys.stdout.flush()
  _complain([p.sentence for p in problems if p.fatal])
  for problem in problems:
    if not problem.fatal:
      command_line.warn(problem.sentence)
  code = _code(problems)
  if code == command_line.DONE:
    print(table.conclusion(addresses, found), flush=True)
  return code


def _complain(sentences):
  for sentence in sentences:
    print(f'error: {sentence}', file=sys.stderr, flush=True)


def _code(problems):
  return (command_line.PERMANENT if any(p.fatal for p in problems)
          else command_line.DONE)


def _say(text):
  print(text, file=sys.stderr, flush=True)


def _known(values, argv):
  """Reads the flags that `values` defines; returns argv without them."""
  try:
    return values(argv, known_only=True)
  except flags.Error as error:
    raise UserError(command_line.sentence(error)) from error


def run():
  """What the installed command calls."""
  command_line.run(main, parse)


if __name__ == '__main__':
  run()
