// An answer -> pictures in a grid, each with its words as chips; the line where relevance ends.

import { show } from "./api.js";
import { element } from "./dom.js";
import { folded } from "./query.js";

// Okabe and Ito: told apart by every kind of sight
const HUES = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b8a200", "#8d7be0"];
const MANY = 24;  // words: more have a height of their own, and scroll
const hueOf = new Map();  // of a word: the same in every picture

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

/** How surely a word is found: a probability, or a strength where the model has no probabilities. */
export const surely = (word) => word.probability ?? Math.max(0, Math.min(1, word.found));
export const percent = (probability) => `${Math.min(99, Math.max(1, Math.round(100 * probability)))}\u00a0%`;
export const strength = (word) => (word.probability === null ? word.found.toFixed(2) : percent(word.probability));

/** What is said of a word: in its chip's name, and on the picture while it is pointed at. */
function told(word, evidence) {
  if (!word.known) return "the model does not know this word";
  const found = `${STATES[word.state] ?? word.state}, ${strength(word)}`;
  if (evidence === "whole") return `${found}, in the picture as a whole; no place`;
  if (evidence === "hint" && word.box) return `${found}; a hint: ${whereabouts(word.box)}`;
  return word.is_found && word.box ? `${found}, ${whereabouts(word.box)}` : found;
}

function tag(word, evidence) {
  if (evidence === "whole") return "the whole picture, no place";
  if (!word.box) return "";
  const state = STATES[word.state] ?? word.state;
  if (evidence === "hint") return word.is_found ? "a hint" : `${state}; a hint`;
  return word.is_found ? "" : `${state}; nearest here`;
}

const CLASSES = { "weak": " weak", "not found": " missing", "unknown": " missing unknown" };
const MARKS = { "weak": "~", "not found": "✕", "unknown": "?" };

/** One word. ``light`` is called with the word, or null, as it is pointed at or focused. */
export function chip(word, { light, evidence, number = false } = {}) {
  if (!word.judged) return element("span", { class: "plain" }, word.word);
  const weak = word.state === "weak", missing = !word.is_found && !weak, said = `${word.word}: ${told(word, evidence)}`;
  const made = element("button", {
    type: "button", class: `chip${CLASSES[word.state] ?? ""}${["hint", "whole"].includes(evidence) ? " vague" : ""}`,
    title: said, "aria-label": said, "aria-pressed": "false",
    "--hue": hue(word.word), "--found": surely(word).toFixed(2),
  }, missing ? element("s", {}, word.word) : word.word);
  if (missing || weak) made.append(element("span", { class: "mark", "aria-hidden": "true" }, MARKS[word.state]));
  if (number && word.known) made.append(element("span", { class: "strength", "aria-hidden": "true" }, strength(word)));
  if (light) lights(made, word, light);
  return made;
}

function lights(made, word, light) {
  let kept = false;
  const set = (on) => {
    made.classList.toggle("lit", on);
    light(on ? word : null);
  };
  made.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && set(true));
  made.addEventListener("pointerleave", () => set(kept));
  made.addEventListener("focus", () => set(true));
  made.addEventListener("blur", () => {
    kept = false;
    made.setAttribute("aria-pressed", "false");
    set(false);
  });
  made.addEventListener("click", () => {
    kept = !kept;
    made.setAttribute("aria-pressed", String(kept));
    set(kept);
  });
}

/** Lay the frame over a word's region and say what it is; null takes both away. A whole picture has no frame. */
export function lightRegion(picture, word, evidence) {
  const region = picture.querySelector(".region"), box = evidence === "whole" ? null : word?.box;
  region.classList.toggle("on", Boolean(box));
  const said = picture.querySelector(".tag"), claim = word ? tag(word, evidence) : "";
  said.classList.toggle("on", Boolean(claim));
  if (claim) said.textContent = claim;
  said.classList.toggle("above", Boolean(box) && box[1] + box[3] > 1);  // where the frame is not
  if (!box) return;
  const [left, top, right, bottom] = box.map((side) => 100 * Math.max(0, Math.min(1, side)));
  Object.assign(region.style, { left: `${left}%`, top: `${top}%`, width: `${right - left}%`, height: `${bottom - top}%` });
  region.style.setProperty("--hue", hue(word.word));
  region.classList.toggle("faint", !word.is_found);
  region.classList.toggle("hint", evidence === "hint");
}

/** Keeps <img> elements, so that a picture that stays does not flicker. */
export class Hits {
  constructor(list, { open, light }) {
    Object.assign(this, { list, open, light, images: new Map(), shown: [] });
  }

  clear() {
    this.list.replaceChildren();
    this.shown = [];
  }

  /** ``hits`` follow those that are shown if ``more``. */
  show(hits, { more = false, line = false } = {}) {
    if (!more) this.clear();
    const first = this.shown.length;
    const wasRelevant = first ? this.shown[first - 1].relevant : hits[0]?.relevant;
    let above = wasRelevant;
    const from = new Set(hits.map((hit) => hit.item.path)).size > 1;  // else it says nothing
    for (const hit of hits) {
      if (line && above && !hit.relevant) this.list.append(relevanceLine());
      above = hit.relevant;
      this.list.append(hit.item.thumbnail ? this.picture(hit) : sentence(hit, this.light, from));
      this.shown.push(hit);
    }
    this.frame();
    if (this.images.size > 400) this.images.clear();
  }

  /** All frames have the shape of most pictures; others stand on a mat. */
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
    const words = hit.words.map((word) => chip(word, { light, evidence: hit.evidence }));
    const chips = element("p", { class: `chips${words.length > MANY ? " many" : ""}` }, ...spaced(words));
    return element("li", { class: "hit" }, open, ...(hit.words.length ? [chips] : []));
  }

  image(item) {
    const kept = this.images.get(item.thumbnail);
    if (kept && !kept.isConnected) return kept;
    const made = element("img", { alt: "", loading: "lazy", decoding: "async", width: item.width, height: item.height });
    made.addEventListener("error", () => made.closest(".picture")?.classList.add("unseeable"));
    this.images.set(item.thumbnail, made);
    show(made, item.thumbnail);
    return made;
  }
}

function label(hit, at) {
  const judged = hit.words.filter((word) => word.judged);
  const missing = judged.filter((word) => !word.is_found).map((word) => word.word);
  const told = !judged.length ? "" : missing.length ? `, without ${missing.join(", ")}` : ", every word found";
  return `Look closer at picture ${at + 1}, ${hit.item.name}${told}`;
}

function sentence(hit, light, from) {
  const chips = hit.words.map((word) => chip(word, { light: (lit) => light(lit, hit.evidence), evidence: hit.evidence }));
  return element("li", { class: "hit said" }, element("p", { class: "chips" }, ...spaced(chips)),
    ...(from ? [element("p", { class: "from" }, hit.item.name)] : []));
}

function relevanceLine() {
  return element("li", { class: "line" }, element("span", {}, "No match below this line"));
}

function spaced(parts) {
  return parts.flatMap((part, n) => (n ? [" ", part] : [part]));
}
