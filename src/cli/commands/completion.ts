// myelin completion: a script for the shell, made from the commands there are.
import type { Command, Option } from 'commander'
import { print } from '../text.ts'

export function addCompletion(program: Command): void {
  program
    .command('completion')
    .description('print a completion script for a shell')
    .addArgument(program.createArgument('<shell>').choices(['bash', 'zsh', 'fish']))
    .addHelpText(
      'after',
      '\nExamples:\n  source <(myelin completion bash)\n  myelin completion fish > ~/.config/fish/completions/myelin.fish',
    )
    .action((shell: 'bash' | 'zsh' | 'fish') => print(scripts[shell](program)))
}

const scripts = {
  bash,
  zsh: (program: Command) => `autoload -U +X bashcompinit && bashcompinit\n${bash(program)}`,
  fish,
}

interface Words {
  readonly path: string
  readonly words: readonly string[]
}

/** Every command with what may follow it. */
function tree(command: Command, path: string): Words[] {
  const visible = command
    .createHelp()
    .visibleCommands(command)
    .filter((sub) => sub.name() !== 'help')
  const flags = command
    .createHelp()
    .visibleOptions(command)
    .map((option: Option) => option.long ?? option.short ?? '')
  return [
    { path, words: [...visible.map((sub) => sub.name()), ...choicesOf(command), ...flags].filter(Boolean) },
    ...visible.flatMap((sub) => tree(sub, `${path} ${sub.name()}`)),
  ]
}

const choicesOf = (command: Command) => command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? [])

function bash(program: Command): string {
  const paths = tree(program, 'myelin').map(({ path }) => `"${path}"`)
  const cases = tree(program, 'myelin').map(({ path, words }) => `    "${path}") words="${words.join(' ')}";;`)
  return `_myelin() {
  local path="myelin" word words
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    # only the names of commands lead on; arguments and values of options do not
    case "$path $word" in ${paths.slice(1).join('|')}) path="$path $word";; esac
  done
  case "$path" in
${cases.join('\n')}
    *) words="";;
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _myelin myelin`
}

function fish(program: Command): string {
  return tree(program, 'myelin')
    .map(({ path, words }) => {
      const [, ...parents] = path.split(' ')
      const when =
        parents.length === 0
          ? '__fish_use_subcommand'
          : parents.map((name) => `__fish_seen_subcommand_from ${name}`).join('; and ')
      return words
        .map((word) => (word.startsWith('--') ? `-l ${word.slice(2)}` : `-f -a ${word}`))
        .map((word) => `complete -c myelin -n '${when}' ${word}`)
        .join('\n')
    })
    .join('\n')
}
