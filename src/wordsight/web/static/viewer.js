// Viewer of one hit: the picture with its regions, its words and evidence, its file, and further searches.

import * as server from "./api.js";
import { copied, date, element, size } from "./dom.js";
import { heatMap } from "./heat.js";
import { chip, hue, lightRegion, listenForLight, percent, tellingWords } from "./hits.js";
import { Zoom } from "./zoom.js";

const PARTS = ["img", ".picture", ".view", ".shares", ".place", "h2", ".verdict", ".chips", ".evidence", ".caption", ".path", ".facts",
  ".similar", ".sentences", ".before", ".after", ".close", ".copy", ".program", ".reveal", ".file", ".original", ".download", ".in", ".out"];
const SENTENCE = { word: "whole sentence", box: null, state: "found" };
const NOTICE_MS = 1500;  // a button shows the result of its action

export class Viewer {
  /** ``turn(n)`` gives the n-th hit of ``count()``, ``more()`` fetches the next ones, up to ``last()`` of all ``total()``; ``similar`` and ``sentences`` are called with an item. */
  constructor(dialog, { turn, count, total, last, more, similar, sentences, closed }) {
    Object.assign(this, { dialog, turn, count, total, last, more, at: 0, request: null });
    this.parts = Object.fromEntries(PARTS.map((selector) => [selector.replace(".", ""), dialog.querySelector(selector)]));
    const { parts } = this;
    this.zoom = new Zoom(parts.view, parts.picture, {
      enlarged: () => server.show(parts.img, `${this.item.thumbnail}&size=2560`, { keep: true }),
      swiped: (step) => this.go(step),
      changed: (scale, most) => {
        parts.out.disabled = scale <= 1;
        parts.in.disabled = scale >= most;
      },
    });
    parts.close.addEventListener("click", () => dialog.close());
    parts.similar.addEventListener("click", () => this.leave(similar));
    parts.sentences.addEventListener("click", () => this.leave(sentences));
    parts.before.addEventListener("click", () => this.go(-1));
    parts.after.addEventListener("click", () => this.go(1));
    parts.in.addEventListener("click", () => this.zoom.step(1));
    parts.out.addEventListener("click", () => this.zoom.step(-1));
    parts.copy.addEventListener("click", () => this.copy());
    parts.img.addEventListener("error", () => {
      delete parts.img.dataset.path;  // to be tried again
      parts.picture.classList.add("unseeable");
    });
    for (const [name, where] of [["program", "viewer"], ["reveal", "folder"]])
      parts[name].addEventListener("click", () => this.show(where));
    for (const name of ["original", "download"]) parts[name].addEventListener("click", (event) => this.file(event, name));
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    dialog.addEventListener("close", () => closed(this.at));
    dialog.addEventListener("keydown", (event) => this.key(event));
  }

  get item() {
    return this.turn(this.at).item;
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const actions = {
      ArrowLeft: () => this.go(-1), ArrowRight: () => this.go(1), "+": () => this.zoom.step(1), "=": () => this.zoom.step(1),
      "-": () => this.zoom.step(-1), 0: () => this.zoom.reset(), Home: () => this.go(-this.at),
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  }

  leave(action) {
    const { item } = this;
    this.dialog.close();
    action(item);
  }

  async go(step) {
    const next = this.at + step;
    if (next < 0) return;
    if (next >= this.count() && !(await this.more())) return;
    if (next < this.count() && this.dialog.open) this.open(next, this.query, this.has);
  }

  async copy() {
    const { copy } = this.parts, done = await copied(this.item.path, this.dialog);
    copy.textContent = done ? "Copied" : "Copy it by hand";
    clearTimeout(this.saying);
    this.saying = setTimeout(() => (copy.textContent = "Copy path"), NOTICE_MS);
  }

  /** Open the file on this machine. */
  show(where) {
    server.showFile(this.item, where).catch((error) => (this.parts.evidence.textContent = error.message));
  }

  /** Open or save a file; a link alone cannot send a token. */
  file(event, name) {
    if (!server.hasToken()) return;
    event.preventDefault();
    const failed = (error) => (this.parts.evidence.textContent = error.message);
    server.openFile(event.currentTarget.getAttribute("href"), name === "download" && this.item.name).catch(failed);
  }

  /** Show a hit; ``query`` is explained, if there is one. ``has``: {texts, originals, shows} of the server. */
  open(at, query, has) {
    Object.assign(this, { at, query, has });
    const hit = this.turn(at), { item } = hit, { parts } = this;
    parts.place.textContent = `${(at + 1).toLocaleString("en")} of ${this.total().toLocaleString("en")}`;
    parts.h2.textContent = item.name;
    parts.path.textContent = item.path;
    parts.facts.textContent = [date(1000 * (item.taken ?? item.modified)), `${item.width} × ${item.height}`, size(item.bytes), item.camera].filter(Boolean).join(" · ");
    parts.caption.textContent = item.text;
    parts.verdict.textContent = verdict(hit, Boolean(query));
    parts.evidence.textContent = "";
    parts.sentences.hidden = !has.texts;
    parts.original.href = server.original(item);
    parts.download.href = `${server.original(item)}?download=true`;
    parts.download.download = item.name;
    for (const link of [parts.original, parts.download]) link.hidden = !has.originals;
    for (const name of ["program", "reveal"]) parts[name].hidden = !has.shows;
    parts.before.disabled = at === 0;
    parts.after.disabled = at >= this.last() - 1;
    parts.picture.style.setProperty("--shape", item.height ? item.width / item.height : 4 / 3);
    parts.view.style.setProperty("--shape", item.height ? item.width / item.height : 4 / 3);
    parts.img.alt = item.text || item.name;
    parts.picture.classList.remove("unseeable");
    this.zoom.reset();
    server.show(parts.img, `${item.thumbnail}&size=1280`);
    this.showWords(hit.words, hit.evidence);
    if (query && hit.words.length) this.explain(query, item.id);
    if (this.dialog.open) return;
    this.dialog.showModal();
    this.dialog.focus();
  }

  async explain(query, id) {
    this.request?.abort();
    const { signal } = (this.request = new AbortController());
    try {
      const explanation = await server.explain({ query, id }, signal);
      if (signal.aborted) return;
      this.parts.evidence.textContent = explanation.sentence;
      this.showWords(explanation.words, explanation.kind, explanation);
    } catch (error) {
      if (!signal.aborted) this.parts.evidence.textContent = error.message;
    }
  }

  /** Show the words as chips; with an explanation they, and the whole sentence, have maps. */
  showWords(words, evidence, { regions = [], heat = [] } = {}) {
    const light = (word) => {
      lightRegion(this.parts.picture, word, evidence);
      this.parts.shares.replaceChildren(...(word ? places(regions, word) : []));
    };
    light(null);
    const { chips } = this.parts, focused = document.activeElement?.dataset?.word;
    const made = words.map((word) => chip(word, { light, evidence, number: true }));
    made.forEach((one, n) => (one.dataset.word = n));
    if (heat.length) made.push(sentenceChip({ heat, ...SENTENCE }, light));
    chips.replaceChildren(...made.flatMap((one) => [one, " "]));
    if (focused !== undefined) chips.querySelector(`[data-word="${focused}"]`)?.focus();
  }
}

/** How good the match is, and which words are missing. */
function verdict(hit, hasQuery) {
  if (hit.score === undefined) return "";
  const judged = tellingWords(hit), named = (states) => judged.filter((word) => states.includes(word.state)).map((word) => `“${word.word}”`).join(", ");
  const [missing, weak] = [named(["not found", "unknown"]), named(["weak"])];
  const doubts = (missing && ` Not found: ${missing}.`) + (weak && ` Perhaps there: ${weak}.`);
  const words = doubts || (judged.some((word) => word.judged) ? " Every word was found." : "");
  const better = Math.floor(hit.percentile);
  const than = better > 0 ? `than ${better}\u00a0% of the pictures` : "";
  const sure = hit.probability === null ? "" : percent(hit.probability), rank = `${hasQuery ? "better" : "more similar"} ${than}`;
  if (!hit.relevant) return `No match${sure && ` (probability ${sure})`}${than && `, but ${rank}`}.${words}`;
  if (sure) return `A match with a probability of ${sure}${than && `, ${rank}`}.${words}`;
  return `${than ? `${hasQuery ? "A better match" : "More similar"} ${than}.` : ""}${words}`.trim();
}

function sentenceChip(sentence, light) {
  const label = "Where the picture shows the whole sentence";
  const made = element("button", {
    type: "button", class: "chip whole", title: label, "aria-label": label, "aria-pressed": "false", "--hue": "var(--quiet)", "--found": 0,
  }, sentence.word);
  listenForLight(made, sentence, light);
  return made;
}

/** Where a word is: its map, or every region shaded by the word's attention. A word that is not found has no map. */
function places(regions, word) {
  if (word.heat?.length) return word.state === "not found" ? [] : [heatMap(word.heat, word.box ? hue(word.word) : "#ffffff")];
  const most = Math.max(...word.shares, 1e-9);
  const shown = regions.map((box, n) => [box, (word.shares[n] ?? 0) / most]).filter(([, share]) => share > 0.08 && share < 0.999);
  return shown.map(([[left, top, right, bottom], share]) => element("span", {
    "--hue": hue(word.word), "--share": share.toFixed(2), "--left": `${100 * left}%`, "--top": `${100 * top}%`,
    "--width": `${100 * (right - left)}%`, "--height": `${100 * (bottom - top)}%`,
  }));
}
