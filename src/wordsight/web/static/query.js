// What is typed <-> its words, each perhaps with an operator, as search/query.py reads them.

const TYPEWRITTEN = { "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"' };  // quotes as telephones type them
const PART = /([+-](?=[\S\ufeff]))?("(?:[^"\\]|\\.)*"|(?:[^\s"^]|\ufeff)+)(\^[1-9])?/gsu;  // U+FEFF is no space
export const MAY = "", MUST = "+", MUST_NOT = "-";
const NEXT = { [MAY]: MUST, [MUST]: MUST_NOT, [MUST_NOT]: MAY };

/** [{sign, word, start, stop}]: where each part stands in what is typed. */
export function parts(typed) {
  const text = typed.replace(/[\u2018\u2019\u201c\u201d]/g, (quote) => TYPEWRITTEN[quote]);
  return [...text.matchAll(PART)].map(({ 0: all, 1: sign = MAY, 2: bare, 3: weight = "", index }) => ({
    sign,
    word: bare[0] === '"' ? unquoted(bare) : bare,
    start: index,
    stop: index + all.length,
    rest: bare + weight,
    bare,
  }));
}

const unquoted = (part) => part.slice(1, -1).replace(/\\(["\\])/g, "$1").split(/[^\S\ufeff]+/).filter(Boolean).join(" ");

/** What is typed, with the next operator at this part: may, must, must not, may. ``must``: whether + is possible. */
export function cycled(typed, part, must = true) {
  let sign = NEXT[part.sign];
  if (sign === MUST && !must) sign = MUST_NOT;
  const told = sign === MUST_NOT ? part.bare : part.rest;  // what must not be there has no weight
  return typed.slice(0, part.start) + sign + told + typed.slice(part.stop);
}

/** Equal for the same word in another case, or with a comma after it. */
export function folded(word) {
  return word.normalize("NFKD").toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "");
}
