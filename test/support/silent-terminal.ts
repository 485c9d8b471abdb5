/** A terminal of which nobody sees anything, and on which nobody types. */
import type { Terminal } from '../../src/cli/terminal.ts'

export const silentTerminal: Terminal = {
  out: () => {},
  complain: () => {},
  interactive: false,
  environment: {},
  input: async () => '',
  inputChunks: async function* () {},
  outBytes: async () => {},
}
