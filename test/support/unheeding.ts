/** 300 products of numbers of 65,000 digits, in one expression. */
const PRODUCTS = Array.from({ length: 300 }, () => 'n * n').join(' + ')

/**
 * A statement of minutes that cannot be interrupted: Postgres's arithmetic of long numbers does not
 * look at its flags.
 */
export const UNHEEDING: string = `select length((${PRODUCTS})::text)
  from (select repeat('9', 65000)::numeric as n offset 0) numbers`
