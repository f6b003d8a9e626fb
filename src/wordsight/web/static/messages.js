// Messages about an answer: how many match, the kind of evidence, and the next step.

import { element, inlineButton } from "./dom.js";

const NOTE = {
  hint: " Frames are hints: this model compares pictures as a whole.",
  whole: " This model compares pictures as a whole: it cannot say where a word is.",
};
const UNSEEN = " Pictures are not shown: this index was made by somebody else, or was moved. Start the server with --root and their folder.";
const ENDS = 4;  // ignored words shown at either end
const counted = (count, kind) => `${count.toLocaleString("en")} ${count === 1 ? kind.slice(0, -1) : kind}`;

/** "8,000 pictures, 40,000 sentences" */
export function served({ images, texts }) {
  const parts = [[images, "pictures"], [texts, "sentences"]];
  return parts.filter(([count]) => count !== null).map((part) => counted(...part)).join(", ");
}

/** The status of a search; ``context``: {about, kind, narrow, sort, compareAll, instead}. */
export function verdict(found, context) {
  if (!found?.total) return [];
  return [...matches(found, context), ...(context.about.images && !context.about.opens_pictures ? [UNSEEN] : [])];
}

function matches(found, context) {
  if (!found.hits) return [context.narrow ? `${counted(found.total, context.kind)}, the newest first.` : "The newest first."];
  const notes = [...shortlist(found, context), ...unknown(found, context), ...unread(found), NOTE[found.hits[0]?.evidence] ?? ""];
  const order = context.sort === "date" ? "newest" : "best";
  if (found.relevant) return [...emphasized(found.verdict), `, the ${order} first.`, ...notes];
  return [element("strong", {}, ...emphasized(found.verdict), /[.:]$/.test(found.verdict) ? "" : "."), closest(found, context), ...notes];
}

function closest(found, { kind }) {
  if (found.itself) return "";
  const all = `${found.exact ? "" : "a shortlist of "}${counted(found.total, kind)}`;
  return found.hits.length ? ` These are the closest of ${all}.` : ` Compared: ${all}.`;
}

/** A sentence of the server with its *words* emphasized. */
function emphasized(sentence) {
  return sentence.split(/\*([^*]+)\*/).map((part, n) => (n % 2 ? element("em", {}, part) : part));
}

function shortlist(found, { compareAll }) {
  const by = found.engine === "regions" ? " It comes from the index of regions. " : " ";
  if (!found.exact) return [by, inlineButton("Compare all", compareAll)];
  return found.fallback ? [` ${found.fallback[0].toUpperCase()}${found.fallback.slice(1)}.`] : [];
}

/** Words outside the vocabulary are found nowhere. */
function unknown(found, { kind, instead }) {
  if (kind === "sentences") return [];
  const names = (found.hits[0]?.words ?? []).filter((word) => !word.known).map((word) => `“${word.word}”`);
  const isSaid = !names.length || found.verdict.includes("does not know");
  const known = isSaid ? [] : [` The model does not know ${names.join(", ")}.`];
  const meant = found.suggestions ?? [];
  return meant.length ? [...known, " Did you mean ", inlineButton(meant.map((one) => one.instead).join(", "), () => instead(meant)), "?"] : known;
}

/** Words beyond the limit of the model are ignored. */
function unread({ unread: end }) {
  if (!end) return [];
  const words = end.split(/\s+/), few = 2 * ENDS;
  const shown = words.length > few ? [...words.slice(0, ENDS), "…", ...words.slice(-ENDS)] : words;
  const count = words.length === 1 ? "word" : `${words.length} words`;
  return [` The query is too long for this model; its last ${count} ${words.length === 1 ? "was" : "were"} ignored: “${shown.join(" ")}”.`];
}

/** A title and a paragraph for an empty page; ``context`` also has {clear, best, signs}. */
export function invitation(found, context) {
  const { about, narrow, signs, clear, best } = context;
  if (!(about.images ?? about.texts))
    return ["This index is empty.", "Add pictures: ", element("code", {}, "wordsight index FOLDER --out INDEX"), ". This page follows it."];
  if (found && !found.total && narrow)
    return ["No picture passes the filters.", signs ? "Or a required or excluded word leaves none. " : "", inlineButton("Clear the filters", clear)];
  if (found?.hits && !found.total)
    return ["No picture is left.", "A required or excluded word leaves none: click the word above to change it."];
  if (found?.hits && !found.hits.length)
    return ["“Newest first” shows only matches.", inlineButton("Show the closest pictures", best)];
  if (!found && about.texts) return ["Drop a picture here", "or choose one, to find sentences that match it."];
  return null;
}
