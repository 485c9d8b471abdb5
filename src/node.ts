/** What a program needs to run a pgnap server of its own on Node. */
export { readConfig, validate, type Config, type ConfigInput } from './host/node/config.ts'
export { startServer, type RunningServer, type ServerOptions } from './host/node/server.ts'
export { openLog } from './host/node/log.ts'
