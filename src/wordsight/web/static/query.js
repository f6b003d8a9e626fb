// A typed query as words with operators, parsed as in search/query/parser.py.

const TYPEWRITTEN = { "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"' };  // quotes as telephones type them
const QUOTED = String.raw`"((?:[^"\\]|\\.)*)"`;
const SIGN = String.raw`[^\s"^]|\ufeff|(?<=\p{Nd})"|"(?!.*(?<!\p{Nd})")`;  // U+FEFF is no space; 12" is a size
const PART = new RegExp(String.raw`([+-](?=[\S\ufeff]))?(${QUOTED}|(?:"|${SIGN})(?:${SIGN})*)(\^[1-9])?`, "gsu");
export const MAY = "", MUST = "+", MUST_NOT = "-";
const NEXT = { [MAY]: MUST, [MUST]: MUST_NOT, [MUST_NOT]: MAY };

/** The parts of a query: [{sign, word, start, stop}]. */
export function parts(typed) {
  const text = typed.replace(/[\u2018\u2019\u201c\u201d]/g, (quote) => TYPEWRITTEN[quote]);
  return [...text.matchAll(PART)].map(({ 0: all, 1: sign = MAY, 2: bare, 3: inner, 4: weight = "", index }) => ({
    sign,
    word: inner === undefined ? bare : unquoted(inner),
    start: index,
    stop: index + all.length,
    rest: bare + weight,
    bare,
  }));
}

const unquoted = (inner) => inner.replace(/\\(["\\])/g, "$1").split(/[^\S\ufeff]+/).filter(Boolean).join(" ");

/** The query with the next operator of this part: may, must, must not. ``must``: whether + is possible. */
export function cycled(typed, part, must = true) {
  let sign = NEXT[part.sign];
  if (sign === MUST && !must) sign = MUST_NOT;
  const word = sign === MUST_NOT ? part.bare : part.rest;  // an excluded word has no weight
  return typed.slice(0, part.start) + sign + word + typed.slice(part.stop);
}

/** Equal for the same word in another case, or with a comma after it. */
export function folded(word) {
  return word.normalize("NFKD").toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "");
}
