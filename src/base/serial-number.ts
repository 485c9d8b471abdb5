/**
 * Counts that go on for ever in 32 bits, as those in integers that threads share. Two of them can
 * be compared as long as they are less than 2^31 apart (RFC 1982).
 */

/** Whether `first` was counted before `second`. Either may have been cut to 32 bits. */
export function isCountedBefore(first: number, second: number): boolean {
  return (((first | 0) - (second | 0)) | 0) < 0
}
