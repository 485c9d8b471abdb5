/** The shipped Worker, with doors through which a test does what nobody may do. */
import worker, { DirectoryObject, TenantObject as ShippedObject } from '../../../src/cloudflare.ts'
import { gzipSync } from 'node:zlib'
import { workerClock } from '../../../src/host/cloudflare/clock.ts'
import { DurableSqliteMedium } from '../../../src/host/cloudflare/durable-sqlite-medium.ts'
import { DIRECTORY_NAME, type Environment } from '../../../src/host/cloudflare/environment.ts'
import { theIsolate } from '../../../src/host/cloudflare/isolate.ts'
import { Store } from '../../../src/store/store.ts'
import { Template } from '../../../src/store/template.ts'
import { TenantFiles } from '../../../src/store/tenant-files.ts'
import { keepStorage } from './kept-storages.ts'

export { DirectoryObject }

interface Doors extends Environment {
  readonly TENANTS: DurableObjectNamespace<TenantObject>
}

/** How often each object was made, by its id. */
const lives = new Map<string, number>()

export class TenantObject extends ShippedObject {
  #endsDuringNext = false

  constructor(context: DurableObjectState, environment: Environment) {
    super(context, environment)
    const id = context.id.toString()
    lives.set(id, (lives.get(id) ?? 0) + 1)
    keepStorage(context)
  }

  /** Leaves the store as another owner would that has written to it. */
  async takeOver(): Promise<void> {
    const { sql } = this.ctx.storage
    sql.exec("UPDATE meta SET v = v + 1 WHERE k = 'epoch'")
  }

  /** The storage fails from now on, or works again. */
  async breakStorage(isBroken: boolean): Promise<void> {
    const { storage } = this.ctx
    const fail = (): never => {
      throw new Error('disk I/O error: SQLITE_IOERR')
    }
    if (isBroken)
      Object.defineProperty(storage, 'transactionSync', { value: fail, configurable: true })
    else Reflect.deleteProperty(storage, 'transactionSync')
  }

  /** Makes the store as an earlier build would have, whose template had one file more. */
  async makeByEarlierBuild(): Promise<void> {
    const { fingerprint, postgresMajor, template } = theIsolate().engine
    const files = TenantFiles.inMemory({ template, clock: workerClock })
    files.create(files.root, 'earlier', 0o100600)
    const earlier = Template.fromFiles(files)
    const directory = this.env.DIRECTORY.getByName(DIRECTORY_NAME)
    await directory.keepTemplate(earlier.id, gzipSync(earlier.serialize()))
    Store.open(new DurableSqliteMedium(this.ctx.storage), {
      clock: workerClock,
      engine: { fingerprint, postgresMajor, templateId: earlier.id },
      templates: new Map([[earlier.id, earlier]]),
    }).close()
  }

  /** Nobody has the template of this store any more. */
  async loseTemplate(): Promise<void> {
    this.ctx.storage.sql.exec("UPDATE meta SET v = 'ffff0000' WHERE k = 'template'")
  }

  /** A table of the store is gone. */
  async damage(): Promise<void> {
    this.ctx.storage.sql.exec('DROP TABLE layer')
  }

  /** The next call of somebody ends this incarnation, when its work is done. */
  async endDuringNext(): Promise<void> {
    this.#endsDuringNext = true
  }

  override async query(
    ...asked: Parameters<ShippedObject['query']>
  ): ReturnType<ShippedObject['query']> {
    return this.#ending(await super.query(...asked))
  }

  override async show(
    ...asked: Parameters<ShippedObject['show']>
  ): ReturnType<ShippedObject['show']> {
    return this.#ending(await super.show(...asked))
  }

  #ending<Answer>(answer: Answer): Answer {
    if (this.#endsDuringNext) this.ctx.abort('a test ends this object')
    return answer
  }

  /** Ends this incarnation; the next request makes another one. */
  async end(): Promise<void> {
    this.ctx.abort('a test ends this object')
  }
}

const handler: ExportedHandler<Doors> = {
  async fetch(request, environment, context) {
    const [, door, tenant = ''] = new URL(request.url).pathname.split('/')
    const object = environment.TENANTS.getByName(tenant)
    if (door === 'lives') return Response.json(lives.get(object.id.toString()) ?? 0)
    if (door === 'take-over') await object.takeOver()
    else if (door === 'earlier-build') await object.makeByEarlierBuild()
    else if (door === 'lose-template') await object.loseTemplate()
    else if (door === 'damage') await object.damage()
    else if (door === 'break') await object.breakStorage(true)
    else if (door === 'mend') await object.breakStorage(false)
    else if (door === 'end-during') await object.endDuringNext()
    else if (door === 'end') await object.end().catch(() => {})
    else return (await worker.fetch?.(request, environment, context)) ?? new Response()
    return new Response()
  },
}
export default handler
