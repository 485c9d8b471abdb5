/**
 * SASLprep (RFC 4013) for passwords: the same password typed on two keyboards must give the same
 * bytes. Like Postgres and libpq, a password that the profile forbids is used as it is, so that no
 * password is refused. The tables of RFC 3454 are reduced to what the platform's NFKC does not do;
 * code points unassigned in 2002 and the rules for mixed writing directions are not checked, which
 * changes the result only for passwords that Postgres would have taken unprepared.
 */

// Printable ASCII is already prepared; nearly all passwords are.
const ASCII = /^[\x20-\x7e]*$/
// RFC 3454 C.1.2, which RFC 4013 maps to a space.
const SPACES = /[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/gu
// RFC 3454 B.1, mapped to nothing. An alternation, because some of these combine in a class.
const NOTHING = /\u00ad|\u034f|\u1806|[\u180b-\u180d]|\u200c|\u200d|\u2060|[\ufe00-\ufe0f]|\ufeff/gu
// RFC 3454 C.2 to C.9: control, private use, non-characters, surrogates, display properties, tags.
const PROHIBITED = new RegExp(
  [
    /[\p{Cc}\p{Co}\p{Cs}\p{Noncharacter_Code_Point}]/u,
    /\u0340|\u0341|\u06dd|\u070f|\u180e|[\u200e\u200f\u2028-\u202e]/u,
    /[\u2061-\u2063\u206a-\u206f\u2ff0-\u2ffb\ufff9-\ufffd]/u,
    /[\u{1d173}-\u{1d17a}]|\u{e0001}|[\u{e0020}-\u{e007f}]/u,
  ]
    .map((part) => part.source)
    .join('|'),
  'u',
)

/** `password` prepared, or unchanged if the profile does not allow it. */
export function saslPrepare(password: string): string {
  if (ASCII.test(password)) return password
  const prepared = password.replaceAll(SPACES, ' ').replaceAll(NOTHING, '').normalize('NFKC')
  return prepared === '' || PROHIBITED.test(prepared) ? password : prepared
}
