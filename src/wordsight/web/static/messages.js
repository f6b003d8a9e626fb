// An answer -> the sentences about it: how many match, what evidence there is, what to do where there is nothing.

import { deed, element } from "./dom.js";

const NOTE = {
  hint: " Frames are hints: this model compares pictures as a whole.",
  whole: " This model compares pictures as a whole: it cannot say where a word is.",
};
const UNSEEN = " Pictures are not shown: this index was made by somebody else, or was moved. Start the server with --root and their folder.";
const ENDS = 4;  // words that are shown of what was not read, at either end
const counted = (count, kind) => `${count.toLocaleString("en")} ${count === 1 ? kind.slice(0, -1) : kind}`;

/** "8,000 pictures, 40,000 sentences" */
export function served({ images, texts }) {
  const parts = [[images, "pictures"], [texts, "sentences"]];
  return parts.filter(([count]) => count !== null).map((part) => counted(...part)).join(", ");
}

/** ``asked``: {about, kind, narrow, sort, compareAll, instead}. */
export function verdict(found, asked) {
  if (!found?.total) return [];
  return [...told(found, asked), ...(asked.about.images && !asked.about.opens_pictures ? [UNSEEN] : [])];
}

function told(found, asked) {
  if (!found.hits) return [asked.narrow ? `${counted(found.total, asked.kind)}, the newest first.` : "The newest first."];
  const notes = [...shortlist(found, asked), ...unknown(found, asked), ...unread(found), NOTE[found.hits[0]?.evidence] ?? ""];
  const order = asked.sort === "date" ? "newest" : "best";
  if (found.relevant) return [...emphasized(found.verdict), `, the ${order} first.`, ...notes];
  return [element("strong", {}, ...emphasized(found.verdict), /[.:]$/.test(found.verdict) ? "" : "."), closest(found, asked), ...notes];
}

function closest(found, { kind }) {
  if (found.itself) return "";
  const all = `${found.exact ? "" : "a shortlist of "}${counted(found.total, kind)}`;
  return found.hits.length ? ` These come closest, of ${all}.` : ` Compared: ${all}.`;
}

/** The server's sentence; *words* stand out. */
function emphasized(sentence) {
  return sentence.split(/\*([^*]+)\*/).map((part, n) => (n % 2 ? element("em", {}, part) : part));
}

function shortlist(found, { compareAll }) {
  return found.exact ? [] : [" ", deed("Compare all", compareAll)];
}

/** Words that the model never learnt find nothing anywhere. */
function unknown(found, { kind, instead }) {
  if (kind === "sentences") return [];
  const names = (found.hits[0]?.words ?? []).filter((word) => !word.known).map((word) => `“${word.word}”`);
  const told = !names.length || found.verdict.includes("does not know");
  const known = told ? [] : [` The model does not know ${names.join(", ")}.`];
  const meant = found.suggestions ?? [];
  return meant.length ? [...known, " Did you mean ", deed(meant.map((one) => one.instead).join(", "), () => instead(meant)), "?"] : known;
}

/** What stands behind the length that a model reads counts for nothing. */
function unread({ unread: end }) {
  if (!end) return [];
  const words = end.split(/\s+/), few = 2 * ENDS;
  const shown = words.length > few ? [...words.slice(0, ENDS), "…", ...words.slice(-ENDS)] : words;
  const count = words.length === 1 ? "word" : `${words.length} words`;
  return [` The query is longer than this model reads; its last ${count} did not count: “${shown.join(" ")}”.`];
}

/** A title and a paragraph where there is nothing to see; ``asked`` also holds {about, clear, best, signs}. */
export function invitation(found, asked) {
  const { about, narrow, signs, clear, best } = asked;
  if (!(about.images ?? about.texts))
    return ["This index is empty.", "Add to it: ", element("code", {}, "wordsight index FOLDER --out INDEX"), ". This page follows it."];
  if (found && !found.total && narrow)
    return ["No picture passes.", signs ? "The filters, or the words that must be there or must not, keep all of them out. " : "The filters keep all of them out. ", deed("Clear the filters", clear)];
  if (found?.hits && !found.total)
    return ["No picture passes.", "A word that must be there, or must not, keeps all of them out: click it to let it go."];
  if (found?.hits && !found.hits.length)
    return ["Newest first shows only what matches.", deed("Show what comes closest", best)];
  if (!found && about.texts) return ["Drop a picture here", "or choose one: the sentences that tell of it come back."];
  return null;
}
