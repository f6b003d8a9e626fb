// The words of what is typed -> buttons: each may be there, must, or must not.

import { element } from "./dom.js";
import { MAY, MUST, cycled, folded, parts } from "./query.js";

const SAID = { "": "may be there", "+": "must be there", "-": "must not be there" };
const SIGN = { "": "", "+": "+", "-": "−" };

const plain = new Set();  // words that name nothing, as the answers so far have told

/** ``first``: the words of the best hit. ``change`` is called with what is typed then. */
export function showWords(row, typed, first, change) {
  for (const word of first) if (!word.judged) plain.add(folded(word.word));
  const found = parts(typed), focused = [...row.children].indexOf(document.activeElement);
  const must = !(first.length === 1 && found.length > 1);  // a sentence that is one vector has no single words
  const shown = found.filter((part) => folded(part.word) && !(part.sign === MAY && plain.has(folded(part.word))));
  row.replaceChildren(...shown.map((part) => button(part, () => change(cycled(typed, part, must)))));
  if (focused >= 0) row.children[focused]?.focus();
  row.hidden = !row.children.length;
}

function button({ sign, word }, onclick) {
  const told = sign === MAY ? [word] : [element("b", { "aria-hidden": "true" }, SIGN[sign]), word];
  return element("button", {
    type: "button", class: `word ${sign === MAY ? "may" : sign === MUST ? "must" : "must-not"}`,
    "aria-label": `${word}: ${SAID[sign]}; press to change`, title: `${SAID[sign]}; click to change`, onclick,
  }, ...told);
}
