/**
 * Settings of the server as options of a verb, from the one table that names them, and back into a
 * checked configuration. Flags stay unset unless they were given: a default here would win over the
 * environment and the file.
 */
import { type Command, Option } from 'commander'
import {
  type Config,
  type ConfigInput,
  DEFAULTS,
  SETTINGS,
  defaultWords,
  readConfig,
} from '../host/node/config.ts'
import type { Terminal } from './terminal.ts'

export type SettingName = keyof Config

/** Adds the flags of `names`, and `--config`. */
export function addSettings(command: Command, names: readonly SettingName[]): Command {
  for (const name of names) {
    const { flag, environment, description } = SETTINGS[name]
    const text = `${description} (${environment}; default: ${defaultWords(name)})`
    if (typeof DEFAULTS[name] === 'boolean') {
      command.addOption(new Option(`--${flag}`, text))
      // Of a switch that is off, only who overrules the environment needs the opposite.
      const isOn = DEFAULTS[name]
      command.addOption(new Option(`--no-${flag}`, `not --${flag}`).hideHelp(!isOn))
    } else {
      command.addOption(new Option(`--${flag} <value>`, text))
    }
  }
  return command.option('--config <file>', 'configuration file, one JSON object (PGNAP_CONFIG)')
}

/**
 * The configuration from a verb's flags, the environment and the file.
 * Throws CONFIG_INVALID.
 */
export function configOf(command: Command, terminal: Terminal): Config {
  const flags: ConfigInput = {}
  for (const [name, { flag }] of Object.entries(SETTINGS)) {
    const attribute = camelCase(flag)
    if (command.getOptionValueSource(attribute) !== 'cli') continue
    flags[name as SettingName] = command.getOptionValue(attribute) as unknown
  }
  const { environment } = terminal
  const named = command.getOptionValue('config') as string | undefined
  const file = named ?? environment['PGNAP_CONFIG']
  return readConfig({ flags, environment, ...(file === undefined ? {} : { file }) })
}

function camelCase(flag: string): string {
  return flag.replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase())
}
