/** An error together with the statement that met it, so that it can be pointed into. */
export class StatementFailure extends Error {
  override readonly name = 'StatementFailure'
  readonly sql: string

  constructor(sql: string, cause: unknown) {
    super('a statement failed', { cause })
    this.sql = sql
  }
}
