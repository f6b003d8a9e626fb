// One hit, large: where each word looks, what evidence that is, and where to go from there.

import * as server from "./api.js";
import { date, element, size } from "./dom.js";
import { chip, hue, lightRegion } from "./hits.js";

export class Viewer {
  /** ``turn(n)`` gives the n-th hit; ``similar`` and ``sentences`` are called with an item. */
  constructor(dialog, { turn, count, similar, sentences, closed }) {
    Object.assign(this, { dialog, turn, count, at: 0, asked: null });
    const part = (selector) => dialog.querySelector(selector);
    this.parts = Object.fromEntries(["img", ".picture", ".shares", ".place", "h2", ".verdict", ".chips", ".evidence",
      ".told", ".path", ".facts", ".sentences", ".before", ".after"].map((selector) => [selector.replace(".", ""), part(selector)]));
    part(".close").addEventListener("click", () => dialog.close());
    part(".similar").addEventListener("click", () => this.leave(similar));
    part(".sentences").addEventListener("click", () => this.leave(sentences));
    part(".before").addEventListener("click", () => this.go(-1));
    part(".after").addEventListener("click", () => this.go(1));
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    dialog.addEventListener("close", () => closed(this.at));
    dialog.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      this.go(step);
    });
  }

  leave(deed) {
    const { item } = this.turn(this.at);
    this.dialog.close();
    deed(item);
  }

  go(step) {
    const next = this.at + step;
    if (next >= 0 && next < this.count()) this.open(next, this.query, this.canSay);
  }

  /** ``query``: what is explained; nothing where a picture alone was searched by. */
  open(at, query, canSay) {
    Object.assign(this, { at, query, canSay });
    const hit = this.turn(at), { item } = hit, { parts } = this;
    parts.place.textContent = `${at + 1} of ${this.count()}`;
    parts.h2.textContent = item.name;
    parts.path.textContent = item.path;
    parts.facts.textContent = [date(1000 * item.modified), `${item.width} × ${item.height}`, size(item.bytes)].join(" · ");
    parts.told.textContent = item.text;
    parts.verdict.textContent = verdict(hit);
    parts.evidence.textContent = "";
    parts.sentences.hidden = !canSay;
    parts.before.disabled = at === 0;
    parts.after.disabled = at === this.count() - 1;
    parts.picture.style.setProperty("--shape", item.height ? item.width / item.height : 4 / 3);
    parts.img.alt = item.text || item.name;
    server.show(parts.img, `${item.thumbnail}&size=1280`);
    this.explained(hit.words, hit.evidence);
    if (query && hit.words.length) this.explain(query, item.id);
    if (this.dialog.open) return;
    this.dialog.showModal();
    this.dialog.focus();
  }

  async explain(query, id) {
    this.asked?.abort();
    const { signal } = (this.asked = new AbortController());
    try {
      const told = await server.explain({ query, id }, signal);
      if (signal.aborted) return;
      this.parts.evidence.textContent = told.sentence;
      this.explained(told.words, told.kind, told.regions);
    } catch (error) {
      if (!signal.aborted) this.parts.evidence.textContent = error.message;
    }
  }

  /** ``regions``: what the shares of the words are over, once they are known. */
  explained(words, evidence, regions = null) {
    const light = (word) => {
      lightRegion(this.parts.picture, word, evidence);
      this.parts.shares.replaceChildren(...(word && regions ? shares(regions, word) : []));
    };
    light(null);
    const { chips } = this.parts, focused = [...chips.children].indexOf(document.activeElement);
    chips.replaceChildren(...words.flatMap((word) => [chip(word, { light, evidence, number: true }), " "]));
    chips.children[focused]?.focus();
  }
}

function verdict(hit) {
  if (hit.score === undefined) return "";
  const judged = hit.words.filter((word) => word.judged), missing = judged.filter((word) => !word.is_found).length;
  const found = judged.length ? `${judged.length - missing} of ${judged.length} words found; ` : "";
  const above = hit.relevant ? "" : " It is below the line of relevance.";
  return `${found}closer than ${hit.percentile.toFixed(1)} % of all.${above}`;
}

/** Every region, as dark as the word looks at it. */
function shares(regions, word) {
  const most = Math.max(...word.shares, 1e-9);
  const shown = regions.map((box, n) => [box, (word.shares[n] ?? 0) / most]).filter(([, share]) => share > 0.08 && share < 0.999);
  return shown.map(([[left, top, right, bottom], share]) => element("span", {
    "--hue": hue(word.word), "--share": share.toFixed(2), "--left": `${100 * left}%`, "--top": `${100 * top}%`,
    "--width": `${100 * (right - left)}%`, "--height": `${100 * (bottom - top)}%`,
  }));
}
