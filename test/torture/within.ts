/** Waits for `work`, but not for ever: rejects with `complaint` after `limitMs`. */
export async function within<Result>(
  limitMs: number,
  work: Promise<Result>,
  complaint: string,
): Promise<Result> {
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => {
    reject(new Error(`${complaint} within ${limitMs} ms`))
  }, limitMs)
  try {
    return await Promise.race([work, promise])
  } finally {
    clearTimeout(timer)
  }
}
