"""Completes flags, config fields and their values in bash and zsh.

`resnet-train --completion=bash` prints a script that a shell reads once. On
Tab, the script starts the program that is being typed, of the code that would
run, with --complete=WORD; the program prints what WORD can become and ends
before it imports TensorFlow. Without an answer the shell completes files.
"""
from collections.abc import Callable, Mapping, Sequence
import importlib.metadata
import itertools

from configs.process import flag_groups, flag_text

_BASH = r"""# Read by bash: eval "$(resnet-train --completion=bash)"
_resnet_trainer() {
  local word=${COMP_WORDS[COMP_CWORD]} last=${COMP_WORDS[COMP_CWORD-1]}
  local -a command=("${COMP_WORDS[0]/#\~/$HOME}")
  local i=1 line
  if [[ ${command[0]##*/} == python* ]]; then
    while [[ $i -lt $COMP_CWORD && ${COMP_WORDS[i]} != -m ]]; do ((i++)); done
    command+=(-m "${COMP_WORDS[++i]}")
    if [[ $i -eq $COMP_CWORD ]]; then
      COMPREPLY=($(compgen -W 'MODULES' -- "$word"))
      return
    fi
    [[ ${command[2]} =~ ^(PACKAGES)\. ]] || return
    ((i++))
  fi
  for (( ; i < COMP_CWORD; i++)); do
    [[ ${COMP_WORDS[i]} == -- ]] && { command+=(--); break; }
  done
  if [[ $word == = ]]; then  # bash takes = for the end of a word.
    word=$last=
  elif [[ $last == = ]]; then
    word=${COMP_WORDS[COMP_CWORD-2]}=$word
  elif [[ $last == -?* && $word != -* ]]; then
    word="$last $word"
  fi
  while IFS= read -r line; do
    [[ -n $line ]] && COMPREPLY+=("$line")
  done < <("${command[@]}" "--complete=$word" 2> /dev/null)
  [[ ${COMPREPLY[0]} == *[=.] ]] && compopt -o nospace
}
complete -o default -F _resnet_trainer python python3 COMMANDS
"""
_ZSH = r"""# Read by zsh: eval "$(resnet-train --completion=zsh)"
_resnet_trainer() {
  local word=${words[CURRENT]} last=${words[CURRENT-1]}
  local -a command=(${~words[1]}) found
  local i=2
  if [[ ${words[1]:t} == python* ]]; then
    while (( i < CURRENT )) && [[ ${words[i]} != -m ]]; do ((i++)); done
    command+=(-m "${words[++i]}")
    if (( i == CURRENT )); then
      compadd -- MODULES
      return
    fi
    if [[ ! ${words[i]} =~ '^(PACKAGES)\.' ]]; then
      (( $+functions[_python] )) && _python "$@" || _files
      return
    fi
    ((i++))
  fi
  for (( ; i < CURRENT; i++)); do
    [[ ${words[i]} == -- ]] && { command+=(--); break; }
  done
  [[ $last == -?* && $word != -* ]] && word="$last $word"
  found=(${(f)"$("${command[@]}" "--complete=$word" 2> /dev/null)"})
  compset -P '*='
  if (( ! $#found )); then
    _files
    return
  fi
  compadd -S '' -- ${(M)found:#*[=.]}
  compadd -- ${found:#*[=.]}
}
(( $+functions[compdef] )) || { autoload -Uz compinit; compinit; }
compdef _resnet_trainer python python3 COMMANDS
"""
SHELLS = {'bash': _BASH, 'zsh': _ZSH}
_ALWAYS = ('help', 'helpfull', 'version')  # Flags of all programs.
_PACKAGES = ('configs', 'launch', 'pipelines', 'resnet')  # Of the project.

_offers: list[Callable[[], Mapping[str, Sequence[str]]]] = []


def script(shell: str) -> str:
  """Returns the script that makes a shell complete all programs."""
  try:
    entries = importlib.metadata.distribution('resnet-trainer').entry_points
  except importlib.metadata.PackageNotFoundError:  # Not installed.
    entries = ()
  modules = (entry.module.removesuffix('.__main__') for entry in entries)
  return (SHELLS[shell].replace('PACKAGES', '|'.join(_PACKAGES))
          .replace('MODULES', ' '.join(sorted(modules)))
          .replace('COMMANDS', ' '.join(sorted(e.name for e in entries))))


def offer(names: Callable[[], Mapping[str, Sequence[str]]]) -> None:
  """Has a function called for {name of a flag: its values, if they are known}.

  It is for flags that are not defined until they are given.
  """
  _offers.append(names)


def candidates(word: str) -> list[str]:
  """Returns what a word can become.

  Args:
    word: the beginning of --name=value, or of --name value; of the last, only
      the value is returned, as shells expect it.

  Returns:
    Names end with = if a value follows, and with a point if more of the name
    does: config.model. stands for all of its fields.
  """
  known = _known()
  name, equals, value = word.partition('=')
  if not equals:
    name, space, value = word.partition(' ')
    if space and _is_bool(known.get(name.lstrip('-'), ())):
      return []  # The word after --extend is not its value.
    equals = space
  if equals:
    values = known.get(name.lstrip('-'), ())
    return [found for found in values if found.startswith(value)]
  return _names(known, word)


def _known():
  """Returns {name: its values, if they are known} of all flags and fields."""
  found = itertools.chain.from_iterable(flag_groups.groups().values())
  known: dict[str, Sequence[str]] = {
      flag.name: flag_text.values(flag) for flag in found}
  for names in _offers:
    known |= names()
  return known | dict.fromkeys(_ALWAYS, ('true', 'false'))


def _names(known, word):
  """Returns the beginnings of names that continue a word, up to a point."""
  if not word.startswith('-'):
    return []
  begun = word.lstrip('-')
  shown = {}  # Keeps the order.
  for name, values in known.items():
    is_bool = _is_bool(values)
    spellings = [name, f'no{name}'] if is_bool and '.' not in name else [name]
    for spelling in spellings[:1 + begun.startswith('no')]:
      if spelling.startswith(begun):
        rest, point, _ = spelling[len(begun):].partition('.')
        end = point or ('' if len(spellings) > 1 else '=')
        shown[f'--{begun}{rest}{end}'] = None
  return list(shown)


def _is_bool(values):
  return list(values) == ['true', 'false']
