/**
 * Where copies of stores are made, until they are whole and get the name of their tenant: a folder
 * of its own inside that of the tenants, so that the last step is a rename(2). What a crash has
 * left there is nobody's, and goes at the next start.
 */
import { mkdirSync, rmSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { explainFolderError } from './data-folder.ts'

/** No tenant's file is called like this. */
const FOLDER = 'copies'
const FOLDER_MODE = 0o700

export class CopyFolder {
  readonly #path: string
  #count = 0

  /** What is left of a former life is removed. @throws PgnapError CONFIG_INVALID, STORE_IO */
  constructor(tenantsPath: string) {
    this.#path = join(tenantsPath, FOLDER)
    this.#attempt(() => rmSync(this.#path, { recursive: true, force: true }))
  }

  /** Lends a path where nothing is; what is left there afterwards goes. Throws as `use` does. */
  async lend<Result>(use: (path: string) => Promise<Result>): Promise<Result> {
    this.#attempt(() => mkdirSync(this.#path, { recursive: true, mode: FOLDER_MODE }))
    const path = join(this.#path, `${this.#count++}.db`)
    try {
      return await use(path)
    } finally {
      for (const file of [path, `${path}-wal`]) await rm(file, { force: true })
    }
  }

  #attempt(body: () => void): void {
    try {
      body()
    } catch (error) {
      throw explainFolderError(this.#path, error)
    }
  }
}
