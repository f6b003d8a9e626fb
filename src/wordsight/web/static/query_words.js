// The words of the query as buttons: each is optional, required or excluded.

import { element } from "./dom.js";
import { MAY, MUST, cycled, folded, parts } from "./query.js";

const STATE = { "": "optional", "+": "required", "-": "excluded" };
const SIGN = { "": "", "+": "+", "-": "−" };

const plain = new Set();  // function words, known from earlier answers

/** Show the words of a query; ``first``: the words of the best hit. ``change`` is called with the new query. */
export function showWords(row, typed, first, change) {
  for (const word of first) if (!word.judged) plain.add(folded(word.word));
  const found = parts(typed), focused = [...row.children].indexOf(document.activeElement);
  const must = !(first.length === 1 && found.length > 1);  // a model with one vector per sentence has no single words
  const shown = found.filter((part) => folded(part.word) && !(part.sign === MAY && plain.has(folded(part.word))));
  row.replaceChildren(...shown.map((part) => button(part, () => change(cycled(typed, part, must)))));
  if (focused >= 0) row.children[focused]?.focus();
  row.hidden = !row.children.length;
}

function button({ sign, word }, onclick) {
  const content = sign === MAY ? [word] : [element("b", { "aria-hidden": "true" }, SIGN[sign]), word];
  return element("button", {
    type: "button", class: `word ${sign === MAY ? "may" : sign === MUST ? "must" : "must-not"}`,
    "aria-label": `${word}: ${STATE[sign]}; press to change`, title: `${STATE[sign]}; click to change`, onclick,
  }, ...content);
}
