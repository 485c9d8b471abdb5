/**
 * One client after its greeting: batches in, answers out, in order, one in flight.
 *
 *            whole batch                          answer
 *   ready ----------------> running ---------------------------------> ready
 *     |                        | error before anything ran: ERROR, ReadyForQuery -> ready
 *     |                        |   ... of a batch without Sync -> skipping, until Sync -> ready
 *     |                        | any other error: FATAL -> closed
 *     |  COPY FROM STDIN       |
 *     +-----------> probing ---+--> copying -- data is there --> running
 *     |
 *     +-- Terminate, violation, shutdown, link closed --> closed
 *
 * Running is not a place of its own when the backend answers at once: then no promise is made, no
 * byte copied and the next batch of the same chunk follows in the same call.
 *
 * Back pressure: while a batch runs or answers wait to be read, the link is paused when there is
 * enough to do. Never: borrowed bytes that are kept, two batches at a time, answers out of order.
 */
import { concatBytes } from '../../base/bytes.ts'
import type { Clock, Timer } from '../../base/clock.ts'
import { errorResponse } from '../../base/error-message.ts'
import { PgnapError, toPgnapError, WAITED_IN_VAIN } from '../../base/errors.ts'
import type { HeldBytes } from '../../base/held-bytes.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Log } from '../../base/log.ts'
import type { BackendClient } from '../../router/gateway.ts'
import { BatchScanner, behindFirst, passToSync } from './batch-scanner.ts'
import { CancelWish } from './cancel-wish.ts'
import { CopyCollector, copyBytesMax } from './copy-collector.ts'
import { CopyWatch } from './copy-plan.ts'
import { copyTrial, trialAlone, writeWithoutFrames, writeAsynchronous } from './copy-trial.ts'
import { BACKEND, copyBytes, endsAborted, findFrame, frameEnd, partOf } from './frame.ts'
import { EarlyParse } from './early-parse.ts'
import { Flow } from './flow.ts'
import { Inbox } from './inbox.ts'
import type { Link } from './link.ts'
import { PreparedSteps } from './prepared-steps.ts'
import type { SessionOptions } from './session-options.ts'
import { answerUnread, copyInResponse, heldTooMuch, readyForQuery } from './server-messages.ts'
import { ToldSettings } from './told-settings.ts'

/** What the answer in flight is for. */
type Purpose = 'client' | 'trial' | 'copy'

export class Session {
  readonly #link: Link
  readonly #flow: Flow
  readonly #held: HeldBytes | undefined
  readonly #client: BackendClient
  readonly #clock: Pick<Clock, 'setTimer'>
  readonly #log: Log
  readonly #onClosed: () => void
  readonly #inbox = new Inbox()
  readonly #watch = new CopyWatch(() => this.#told.valueOf('client_encoding'))
  readonly #scanner: BatchScanner
  readonly #settle = (answer: Uint8Array): void => this.#settled(answer, undefined)
  readonly #settleError = (error: unknown): void => this.#settled(undefined, error)
  #copy: CopyCollector | undefined
  #purpose: Purpose = 'client'
  /** Of the batch in flight. */
  #complete = true
  #readyCount = 0
  /** A promise of the backend is in flight, for so many bytes. */
  #running = false
  #runningBytes = 0
  readonly #early: EarlyParse
  readonly #steps: PreparedSteps
  /** The backend skips till Sync: a COPY executed now would not ask for its data. */
  #aborted = false
  /** We skip till Sync, because the backend has not seen the batch that failed. */
  #skipping = false
  #shutdownError: PgnapError | undefined
  #clientIsDone = false
  #closed = false
  /** Ends the patience with a pipeline that goes on without Sync or Flush. */
  #patience: Timer | undefined
  readonly #wish: CancelWish
  readonly #told: ToldSettings
  /** What waits, if it is more than a wish could be about; then: the wish has ended the wait. */
  #several: Uint8Array | undefined
  #isWished = false

  constructor(options: SessionOptions) {
    this.#link = options.link
    this.#held = options.held
    this.#flow = new Flow({ ...options, onGivenUp: () => this.end(heldTooMuch()) })
    this.#steps = new PreparedSteps((this.#client = options.client))
    this.#clock = options.clock
    this.#scanner = new BatchScanner(this.#watch, options.clock)
    this.#log = options.log
    this.#onClosed = options.onClosed
    this.#wish = options.wish ?? new CancelWish(options.clock)
    this.#told = options.told ?? new ToldSettings()
    this.#early = new EarlyParse({ ...options, send: (answer) => this.#send(answer) })
  }

  /** A batch is in flight. */
  get busy(): boolean {
    return this.#running
  }

  /** What its client does, as an administrator sees it. */
  get state(): 'idle' | 'waiting' | 'active' {
    if (this.waitingSinceMs !== undefined) return 'waiting'
    return this.#running || this.#client.transactionStatus !== 'idle' ? 'active' : 'idle'
  }

  /** Monotonic time since which the batch in flight waits for its turn, if it does. */
  get waitingSinceMs(): number | undefined {
    return this.#running ? this.#client.waitingSinceMs : undefined
  }

  receive(bytes: Uint8Array): void {
    if (this.#closed) return
    if (this.#inbox.length > 0 || this.#running || this.#flow.isClogged) {
      this.#inbox.append(bytes)
      this.#work()
      return
    }
    const used = this.#process(bytes)
    if (used < bytes.length && !this.#closed) this.#inbox.append(bytes.subarray(used))
    this.#rest()
  }

  linkDrained(): void {
    if (this.#flow.drained() && !this.#closed) this.#work()
  }

  linkClosed(): void {
    this.#close()
    this.#flow.closed()
  }

  /**
   * The client has sent its last byte and may still read: what it has asked for is answered, then
   * the session ends. As in Postgres, a statement that was received is run.
   */
  linkEnded(): void {
    this.#clientIsDone = true
    this.#endIfDone()
  }

  #endIfDone(): void {
    if (!this.#clientIsDone || this.#closed || this.#running || this.#flow.isClogged) return
    this.#leave()
  }

  /** Ends the session with a FATAL `error`: now, or after the batch that its client waits for. */
  shutdown(error: PgnapError): void {
    if (this.#running && !this.#early.pending) this.#shutdownError = error
    else this.end(error)
  }

  /** Ends the session with a FATAL `error` now; a batch in flight is given up. */
  end(error: PgnapError): void {
    if (this.#closed) return
    this.#link.end(errorResponse(error, 'FATAL'))
    this.#close()
  }

  /** Messages of the backend for a client that did not ask. */
  deliver(messages: Uint8Array): void {
    if (!this.#closed) this.#send(this.#told.news(messages, true))
  }

  /** The backend keeps so much for the client, to be delivered later. */
  keeps(bytes: number): void {
    if (!this.#closed) this.#flow.keep(bytes)
  }

  /** Ends the wait of the batch in flight; one that has begun goes on. */
  cancel(): void {
    if (!this.#closed && !this.#isAnsweredEarly) this.#client.cancel()
  }

  /** Who has been answered, and has said nothing since, waits for nothing. */
  get #isAnsweredEarly(): boolean {
    return this.#early.pending && this.#inbox.length === 0
  }

  /** There is a wish: if what it is about waits, it ends now, else when it is read and waits. */
  cancelForWish(): void {
    const isWaiting = this.waitingSinceMs !== undefined && this.#wish.isAboutBegun
    // In a transaction it waits for its slot alone. It has to fail there, and so it has to run.
    if (isWaiting && this.#mayBeRefused && !this.#isAnsweredEarly) {
      // What has been answered is not what its client wants to end.
      this.#isWished = !this.#early.pending
      if (this.#isWished) this.#wish.spend()
      this.#client.cancel()
    }
    this.#rest()
  }

  /** Works on what has been kept, as far as the backend and the client let us. */
  #work(): void {
    if (this.#inbox.length > 0 && !this.#running && !this.#flow.isClogged && !this.#closed) {
      const used = this.#process(this.#inbox.view())
      if (!this.#closed) this.#inbox.consume(used)
    }
    this.#rest()
    this.#endIfDone()
  }

  /** Of what the client has sent. */
  get #keptBytes(): number {
    const inHand = this.#runningBytes + this.#steps.keptBytes + (this.#several?.length ?? 0)
    const waiting = this.#inbox.heldBytes + this.#watch.keptBytes + this.#early.keptBytes
    return waiting + (this.#copy?.keptBytes ?? 0) + (this.#running ? inHand : 0)
  }

  /** Nothing more can be done now. */
  #rest(): void {
    if (!this.#closed) this.#flow.rest(this.#inbox.length, this.#keptBytes, this.#running)
    this.#awaitMore()
    if (!this.#running || this.#isAnsweredEarly) this.#wish.rest(this.#copy !== undefined)
  }

  /**
   * A client may wait for an error without having asked for anything: a server runs each message as
   * it comes, and what fails is told at once. So what is there is run if nothing else follows.
   */
  #awaitMore(): void {
    this.#patience?.cancel()
    this.#patience = undefined
    if (this.#inbox.length === 0 || this.#running || this.#flow.isClogged || this.#closed) return
    const { stop, scannedBytes } = this.#scanner
    if (this.#skipping || this.#copy || stop !== 'more' || scannedBytes === 0) return
    this.#patience = this.#clock.setTimer(LIMITS.pipelineQuietMs, () => {
      const used = this.#takeScanned(this.#inbox.view(), 0)
      this.#wish.takenBytes += used
      if (this.#closed) return
      this.#inbox.consume(used)
      this.#work()
    })
  }

  /** Takes whole steps from the front of `bytes`; returns how many bytes they were. */
  #process(bytes: Uint8Array): number {
    let at = 0
    try {
      while (at < bytes.length && !this.#running && !this.#flow.isClogged && !this.#closed) {
        const next = this.#step(bytes, at)
        if (next === at && !this.#moved) break
        this.#wish.takenBytes += next - at
        at = next
      }
    } catch (error) {
      this.#broke(error)
    }
    return at
  }

  /** There may be no memory left for what one client wants: the others are not to go with it. */
  #broke(error: unknown): void {
    this.#log.error('a session broke', { error })
    this.end(toPgnapError(error))
  }

  /** A step has changed the state without taking bytes. */
  #moved = false

  #step(bytes: Uint8Array, at: number): number {
    this.#moved = false
    if (this.#skipping) return this.#skipToSync(bytes, at)
    if (this.#copy) return this.#collect(this.#copy, bytes, at)
    this.#wish.begin()
    const scanner = this.#scanner
    scanner.scan(bytes, at, bytes.length, this.#wish.mayCome())
    if (scanner.batchBytes > 0 && scanner.stop !== 'copy') return this.#takeBatch(bytes, at)
    switch (scanner.stop) {
      case 'more':
        if (scanner.scannedBytes <= LIMITS.pipelineBytesMax) return at
        // The backend takes what there is; the rest of the pipeline follows.
        return this.#takeScanned(bytes, at)
      case 'copy':
        if (scanner.scannedBytes > 0) return this.#takeScanned(bytes, at)
        return this.#beginCopy(bytes, at)
      case 'copy-rest':
        if (scanner.scannedBytes > 0) return this.#takeScanned(bytes, at)
        return frameEnd(bytes, at, bytes.length)
      case 'terminate':
        this.#leave()
        break
      case 'violation':
        this.end(scanner.error ?? toPgnapError('a violation without an error'))
    }
    return at
  }

  #takeBatch(bytes: Uint8Array, at: number, count = this.#scanner.batchBytes): number {
    const { batchBytes, batchComplete, readyCount } = this.#scanner
    const complete = batchComplete && batchBytes === count
    this.#scanner.take(count)
    this.#run(partOf(bytes, at, at + count), complete, readyCount, 'client')
    return at + count
  }

  /** Nothing is open that an error on the way would end. */
  get #mayBeRefused(): boolean {
    const { transactionStatus, isFloating } = this.#client
    return (transactionStatus === 'idle' || isFloating === true) && !this.#steps.isOpen
  }

  /** Runs every whole message, also those that no Sync has closed yet. */
  #takeScanned(bytes: Uint8Array, at: number): number {
    return this.#takeBatch(bytes, at, this.#scanner.scannedBytes)
  }

  #skipToSync(bytes: Uint8Array, start: number): number {
    const { end, met } = passToSync(bytes, start)
    if (met === 'sync') {
      this.#skipping = false
      this.#scanner.synced()
      this.#send(readyForQuery(this.#client.transactionStatus))
    } else if (met === 'terminate') this.#leave()
    else if (met) this.end(met)
    return end
  }

  #beginCopy(bytes: Uint8Array, at: number): number {
    const { plan } = this.#scanner
    const end = frameEnd(bytes, at, bytes.length)
    const head = copyBytes(bytes, at, end)
    if (!plan || this.#aborted) {
      // The backend skips this message anyway.
      this.#run(head, false, 0, 'client')
      return end
    }
    const copy = new CopyCollector({ head, plan, bytesMax: copyBytesMax(this.#held) })
    const status = this.#client.transactionStatus
    if (!copy.simple || !plan.alone || (copy.shape.freeze && status !== 'failed')) {
      this.#copy = copy
      this.#askForData(copy)
      return end
    }
    if (status === 'failed') this.#run(trialAlone(head), true, 1, 'client')
    else {
      this.#copy = copy
      this.#run(copyTrial(head, status), true, 1, 'trial')
    }
    return end
  }

  #askForData(copy: CopyCollector): void {
    this.#send(copyInResponse(copy.shape.binary, copy.shape.columnCount))
  }

  #collect(copy: CopyCollector, bytes: Uint8Array, at: number): number {
    const next = copy.collect(bytes, at, bytes.length)
    switch (copy.outcome) {
      case 'more':
        break
      case 'next':
        this.#askForData(copy)
        break
      case 'done':
        this.#copy = undefined
        this.#moved = true
        this.#run(copy.messages(), copy.simple, copy.simple ? 1 : 0, 'copy')
        break
      case 'terminate':
        this.#leave()
        break
      case 'violation':
        this.end(copy.error ?? toPgnapError('a violation without an error'))
        break
    }
    return next
  }

  #run(messages: Uint8Array, complete: boolean, readyCount: number, purpose: Purpose): void {
    // Nothing but Flush, and nothing is owed: the backend would not answer.
    if (complete && readyCount === 0) return
    this.#complete = complete
    this.#readyCount = readyCount
    this.#purpose = purpose
    const broken = this.#early.takeBroken()
    if (broken) return this.#refuse(broken)
    this.#isWished = false
    this.#several = readyCount > 1 ? messages : undefined
    let answer: Uint8Array | Promise<Uint8Array>
    try {
      answer = this.#steps.run(this.#early.before(messages), complete)
    } catch (error) {
      return this.#failed(error)
    }
    if (answer instanceof Uint8Array) return this.#answered(answer)
    this.#running = true
    this.#runningBytes = messages.length
    if (complete && !this.#steps.isOpen && purpose === 'client') this.#early.promise(messages)
    this.#several &&= copyBytes(messages)
    answer.then(this.#settle, this.#settleError)
    if (this.#wish.isAboutBegun) this.cancelForWish()
  }

  #settled(answer: Uint8Array | undefined, error: unknown): void {
    this.#running = false
    if (this.#closed) return
    try {
      if (answer) this.#answered(answer)
      else this.#failed(error)
    } catch (broken) {
      this.#broke(broken)
    }
    if (this.#shutdownError && !this.#running) this.end(this.#shutdownError)
    this.#work()
  }

  #answered(all: Uint8Array): void {
    if (this.#closed) return
    this.#several = undefined
    this.#scanner.answered()
    const answer = this.#early.behind(all)
    this.#steps.answered()
    if (this.#early.answered(answer)) return
    if (this.#purpose === 'trial') return this.#triedCopy(answer)
    this.#aborted = this.#steps.isOpen && endsAborted(answer, this.#aborted)
    const news = this.#told.news(answer, this.#readyCount > 1)
    if (this.#purpose === 'client') this.#send(news)
    // The client has had its CopyInResponse from us, when we asked for the data.
    else writeWithoutFrames(news, BACKEND.copyInResponse, (part) => this.#send(part))
  }

  /** The backend has tried a COPY and undone it: either it wants data, or it says what is wrong. */
  #triedCopy(answer: Uint8Array): void {
    const copy = this.#copy
    if (!copy) return
    const at = findFrame(answer, BACKEND.copyInResponse)
    if (at >= 0) {
      writeAsynchronous(answer, (part) => this.#send(part))
      this.#send(answer.subarray(at, frameEnd(answer, at, answer.length)))
      return
    }
    this.#copy = undefined
    // In a transaction the trial was rolled back to a savepoint; the error must happen to the
    // client.
    if (this.#client.transactionStatus === 'idle') this.#send(answer)
    else this.#run(trialAlone(copy.head), true, 1, 'client')
  }

  /** The batch in flight was not run to its end; if it had not even begun, the client may go on. */
  #failed(reason: unknown): void {
    if (this.#closed) return
    const error = toPgnapError(reason)
    if (error.kind === 'report') this.#log.error(error.message, { error })
    const mayGoOn = WAITED_IN_VAIN.has(error.sqlState) || this.#client.mayGoOn
    if (!this.#mayBeRefused || !mayGoOn) return this.end(error)
    const message = errorResponse(error, 'ERROR')
    if (this.#early.failed(message)) return
    const isFirst = this.#isWished || this.#client.isFloating === true
    const batch = this.#several
    this.#several = undefined
    if (isFirst && batch) this.#refuseFirst(message, batch)
    else this.#refuse(message)
  }

  /** A wish ends one of those sent ahead, as a signal would. So does what fails a transaction. */
  #refuseFirst(message: Uint8Array, batch: Uint8Array): void {
    const rest = behindFirst(batch)
    this.#send(concatBytes([message, readyForQuery(this.#client.transactionStatus)]))
    this.#wish.beginBehind(batch.length - rest.length)
    this.#run(rest, this.#complete, this.#readyCount - 1, 'client')
  }

  /** Nothing of the batch has run, or will. */
  #refuse(message: Uint8Array): void {
    this.#copy = undefined
    const told = concatBytes([message, readyForQuery(this.#client.transactionStatus)])
    for (let count = 0; count < this.#readyCount; count++) this.#send(told)
    if (this.#complete) return
    this.#send(message)
    this.#skipping = true
  }

  #send(bytes: Uint8Array): void {
    if (bytes.length === 0 || this.#closed) return
    if (this.#flow.send(bytes)) return
    this.end(answerUnread(this.#link.bufferedBytes + bytes.length))
  }

  #leave(): void {
    this.#link.end()
    this.#close()
  }

  #close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#copy = undefined
    this.#flow.end()
    this.#patience?.cancel()
    this.#early.close()
    this.#wish.end()
    this.#inbox.clear()
    this.#client.close()
    this.#onClosed()
  }
}
