// What is typed <-> its words, each perhaps with an operator, as search/query.py reads them.

const PART = /([+-](?=\S))?("(?:[^"\\]|\\.)*"|[^\s"^]+)(\^\d)?/gu;
export const MAY = "", MUST = "+", MUST_NOT = "-";
const NEXT = { [MAY]: MUST, [MUST]: MUST_NOT, [MUST_NOT]: MAY };

/** [{sign, word, start, stop}]: where each part stands in what is typed. */
export function parts(typed) {
  return [...typed.matchAll(PART)].map((match) => ({
    sign: match[1] ?? MAY,
    word: match[2].replace(/^"|"$/g, ""),
    start: match.index,
    stop: match.index + match[0].length,
    rest: match[2] + (match[3] ?? ""),
    bare: match[2],
  }));
}

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
