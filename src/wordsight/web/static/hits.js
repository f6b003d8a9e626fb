// Hits of an answer: pictures in a grid with their words as chips, and the mark of the relevance threshold.

import { show } from "./api.js";
import { element } from "./dom.js";
import { folded } from "./query.js";

// Okabe and Ito: distinct for colour-blind readers too
const HUES = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b8a200", "#8d7be0"];
const MAX_WORDS = 24;  // the chips of more words scroll
const hueOf = new Map();  // a word has one hue in all pictures

export function hue(word) {
  const key = folded(word);
  if (!hueOf.has(key)) hueOf.set(key, HUES[hueOf.size % HUES.length]);
  return hueOf.get(key);
}
export const forgetHues = () => hueOf.clear();

const STATES = { weak: "weakly found", unknown: "not known" };

function whereabouts([left, top, right, bottom]) {
  if ((right - left) * (bottom - top) > 0.8) return "the whole picture";
  const down = (top + bottom) / 2, across = (left + right) / 2;
  const row = down < 0.42 ? "top" : down > 0.58 ? "bottom" : "middle";
  const column = across < 0.42 ? "left" : across > 0.58 ? "right" : "centre";
  return `${row} ${column}`;
}

/** Probability of a word, or its strength if the model has no probabilities. */
export const certainty = (word) => word.probability ?? Math.max(0, Math.min(1, word.found));
export const percent = (probability) => `${Math.min(99, Math.max(1, Math.round(100 * probability)))}\u00a0%`;
export const strength = (word) => (word.probability === null ? word.found.toFixed(2) : percent(word.probability));

/** Description of a word for its chip's label. */
function describeWord(word, evidence) {
  if (!word.known) return "the model does not know this word";
  const found = `${STATES[word.state] ?? word.state}, ${strength(word)}`;
  if (evidence === "whole") return `${found}, in the picture as a whole; no place`;
  if (evidence === "hint" && word.box) return `${found}; a hint: ${whereabouts(word.box)}`;
  return word.is_found && word.box ? `${found}, ${whereabouts(word.box)}` : found;
}

function tag(word, evidence) {
  if (evidence === "whole") return "the whole picture, no place";
  if (!word.box) return word.heat && evidence === "hint" ? "a hint" : "";
  const state = STATES[word.state] ?? word.state;
  if (evidence === "hint") return word.is_found ? "a hint" : `${state}; a hint`;
  const phrase = word.phrase ? `found as “${word.phrase}”` : "";
  return word.is_found ? phrase : [`${state}; nearest here`, phrase].filter(Boolean).join("; ");
}

const CLASSES = { "weak": " weak", "not found": " missing", "unknown": " missing unknown" };
const MARKS = { "weak": "~", "not found": "✕", "unknown": "?" };

/** Words that say more than the query itself: a model of one vector per sentence judges the sentence as one word. */
export const tellingWords = ({ words, evidence, item }) => (evidence === "whole" && words.length === 1 && item.thumbnail ? [] : words);

/** Button of a word. ``light`` is called with the word while it is pointed at or focused, then with null. */
export function chip(word, { light, evidence, number = false } = {}) {
  if (!word.judged) return element("span", { class: "plain" }, word.word);
  const weak = word.state === "weak", missing = !word.is_found && !weak, label = `${word.word}: ${describeWord(word, evidence)}`;
  const made = element("button", {
    type: "button", class: `chip${CLASSES[word.state] ?? ""}${["hint", "whole"].includes(evidence) ? " vague" : ""}`,
    title: label, "aria-label": label, "aria-pressed": "false",
    "--hue": hue(word.word), "--found": certainty(word).toFixed(2),
  }, missing ? element("s", {}, word.word) : word.word);
  if (missing || weak) made.append(element("span", { class: "mark", "aria-hidden": "true" }, MARKS[word.state]));
  if (number && word.known) made.append(element("span", { class: "strength", "aria-hidden": "true" }, strength(word)));
  if (light) listenForLight(made, word, light);
  return made;
}

export function listenForLight(made, word, light) {
  let pinned = false;
  const set = (on) => {
    made.classList.toggle("lit", on);
    light(on ? word : null);
  };
  made.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && set(true));
  made.addEventListener("pointerleave", () => set(pinned));
  made.addEventListener("focus", () => set(true));
  made.addEventListener("blur", () => {
    pinned = false;
    made.setAttribute("aria-pressed", "false");
    set(false);
  });
  made.addEventListener("click", () => {
    pinned = !pinned;
    made.setAttribute("aria-pressed", String(pinned));
    set(pinned);
  });
}

/** Show the frame and the tag of a word's region; null hides both. A whole picture has no frame. */
export function lightRegion(picture, word, evidence) {
  const region = picture.querySelector(".region"), box = evidence === "whole" ? null : word?.box;
  region.classList.toggle("on", Boolean(box));
  const label = picture.querySelector(".tag"), text = word ? tag(word, evidence) : "";
  label.classList.toggle("on", Boolean(text));
  if (text) label.textContent = text;
  label.classList.toggle("above", Boolean(box) && box[1] + box[3] > 1);  // where the frame is not
  picture.classList.toggle("heated", Boolean(word?.heat?.length) && word.state !== "not found");
  if (!box) return;
  const [left, top, right, bottom] = box.map((side) => 100 * Math.max(0, Math.min(1, side)));
  Object.assign(region.style, { left: `${left}%`, top: `${top}%`, width: `${right - left}%`, height: `${bottom - top}%` });
  region.style.setProperty("--hue", hue(word.word));
  region.classList.toggle("faint", !word.is_found);
  region.classList.toggle("hint", evidence === "hint");
}

/** The list of hits. It reuses <img> elements, so that pictures do not flicker. */
export class Hits {
  constructor(list, { open, light }) {
    Object.assign(this, { list, open, light, images: new Map(), shown: [] });
  }

  clear() {
    this.list.replaceChildren();
    this.shown = [];
  }

  /** Show hits; ``more`` appends them. ``threshold`` marks where relevant hits end. */
  show(hits, { more = false, threshold = false } = {}) {
    if (!more) this.clear();
    const first = this.shown.length;
    const wasRelevant = first ? this.shown[first - 1].relevant : hits[0]?.relevant;
    let above = wasRelevant;
    const from = new Set(hits.map((hit) => hit.item.path)).size > 1;  // one file for all says nothing
    for (const hit of hits) {
      if (threshold && above && !hit.relevant) this.list.append(thresholdMark());
      above = hit.relevant;
      this.list.append(hit.item.thumbnail ? this.picture(hit) : sentence(hit, this.light, from));
      this.shown.push(hit);
    }
    this.frame();
    if (this.images.size > 400) this.images.clear();
  }

  /** All frames have the median shape; pictures of other shapes have a border. */
  frame() {
    const shapes = this.shown.filter((hit) => hit.item.height).map((hit) => hit.item.width / hit.item.height);
    const middle = shapes.sort((a, b) => a - b)[shapes.length >> 1] ?? 4 / 3;
    this.list.style.setProperty("--frame", Math.max(0.8, Math.min(1.5, middle)).toFixed(3));
  }

  picture(hit) {
    const { item } = hit, at = this.shown.length;
    const over = ["region", "tag"].map((name) => element("span", { class: name, "aria-hidden": "true" }));
    const shape = item.height ? item.width / item.height : 4 / 3;
    const picture = element("span", { class: "picture", "--shape": shape.toFixed(4) }, this.image(item), ...over);
    const open = element("button", {
      type: "button", class: "open", "aria-label": label(hit, at), onclick: () => this.open(at),
    }, picture);
    const light = (word) => lightRegion(picture, word, hit.evidence);
    const words = tellingWords(hit).map((word) => chip(word, { light, evidence: hit.evidence }));
    const chips = element("p", { class: `chips${words.length > MAX_WORDS ? " many" : ""}` }, ...spaced(words));
    return element("li", { class: "hit" }, open, ...(words.length ? [chips] : []));
  }

  image(item) {
    const known = this.images.get(item.thumbnail);
    if (known && !known.isConnected) return known;
    const made = element("img", { alt: "", loading: "lazy", decoding: "async", width: item.width, height: item.height });
    made.addEventListener("error", () => {
      this.images.delete(item.thumbnail);  // the next answer tries again
      made.closest(".picture")?.classList.add("unseeable");
    });
    this.images.set(item.thumbnail, made);
    show(made, item.thumbnail);
    return made;
  }
}

function label(hit, at) {
  const judged = tellingWords(hit).filter((word) => word.judged);
  const missing = judged.filter((word) => !word.is_found).map((word) => word.word);
  const summary = !judged.length ? "" : missing.length ? `, without ${missing.join(", ")}` : ", every word found";
  return `Open picture ${at + 1}, ${hit.item.name}${summary}`;
}

function sentence(hit, light, from) {
  const chips = hit.words.map((word) => chip(word, { light: (lit) => light(lit, hit.evidence), evidence: hit.evidence }));
  return element("li", { class: "hit sentence" }, element("p", { class: "chips" }, ...spaced(chips)),
    ...(from ? [element("p", { class: "from" }, hit.item.name)] : []));
}

function thresholdMark() {
  return element("li", { class: "threshold" }, element("span", {}, "No match from here on"));
}

function spaced(parts) {
  return parts.flatMap((part, n) => (n ? [" ", part] : [part]));
}
