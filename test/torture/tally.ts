/** What a run has done so far, for its report. */
export class Tally {
  rounds = 0
  /** Signals that ended a server without warning. */
  kills = 0
  /** Servers that were asked to stop, and did. */
  drains = 0
  starts = 0
  /** Writes whose answer arrived. */
  acknowledgedWrites = 0
  /** Messages that had no answer when the server died, by what became of them. */
  unansweredKept = 0
  unansweredGone = 0
  /** Tenants compared with the ledger, and then examined by amcheck and Store.verify(). */
  tenantChecks = 0
  rowsCompared = 0
  relationsExamined = 0
  storesVerified = 0
  readonly byOperation: Map<string, number> = new Map()

  acknowledged(operation: string): void {
    this.acknowledgedWrites++
    this.byOperation.set(operation, (this.byOperation.get(operation) ?? 0) + 1)
  }

  /** One line of figures. */
  summary(): string {
    return [
      `${this.rounds} rounds`,
      `${this.acknowledgedWrites} acknowledged writes`,
      `${this.kills} kills`,
      `${this.drains} orderly stops`,
      `${this.starts} starts`,
      `${this.unansweredKept} unanswered kept`,
      `${this.unansweredGone} unanswered gone`,
      `${this.tenantChecks} tenant checks`,
      `${this.rowsCompared} rows compared`,
      `${this.relationsExamined} relations examined`,
      `${this.storesVerified} stores verified`,
    ].join(', ')
  }

  /** Acknowledged writes by operation, most frequent first. */
  operations(): string {
    const sorted = [...this.byOperation].toSorted((a, b) => b[1] - a[1])
    return sorted.map(([name, count]) => `${name} ${count}`).join(', ')
  }
}
