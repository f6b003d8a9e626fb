// Filters and order of the search: fields and chips, the address, and the parameters of a request.

import * as server from "./api.js";
import { date, element, size } from "./dom.js";

const MAX_SECONDS = 1e11;  // limit of the server
const NEAR = /^[+-]?(90(\.0{1,12})?|[1-8]?\d(\.\d{1,12})?),[+-]?(180(\.0{1,12})?|(1[0-7]\d|[1-9]?\d)(\.\d{1,12})?),\d{1,5}(\.\d{1,12})?$/;
const DAY = /^\d{4}-\d\d-\d\d$/;
const ENGINE_TEXT = { exact: "all compared", shortlist: "from a shortlist", regions: "from the nearest regions" };
const ALLOWED = {  // valid values in an address
  folder: (value) => value !== "",
  from: isDay,
  until: isDay,
  text: (value) => value.trim() !== "",
  camera: (value) => value.trim() !== "",
  near: (value) => NEAR.test(plain(value)),
  min_bytes: (value) => /^[1-9]\d{0,14}$/.test(value),
  sort: (value) => value === "date",
  engine: (value) => Object.hasOwn(ENGINE_TEXT, value),
};
const CHIP_TEXT = {
  folder: (value) => `in ${value.startsWith("/") ? value.split("/").slice(-2).join("/") : value}`,
  from: (value) => `from ${date(midnight(value))}`,
  until: (value) => `until ${date(midnight(value))}`,
  text: (value) => `“${value.trim()}” in captions or path`,
  camera: (value) => `by ${value.trim()}`,
  near: (value) => `within ${plain(value).split(",")[2]} km of ${plain(value).split(",").slice(0, 2).join(", ")}`,
  min_bytes: (value) => `at least ${size(value)}`,
  sort: () => "newest first",
  engine: (value) => ENGINE_TEXT[value],
};

const midnight = (day, later = 0) => {
  const when = new Date(`${day}T00:00`);
  return when.setDate(when.getDate() + later);
};
function isDay(value) {
  return DAY.test(value) && !Number.isNaN(midnight(value));
}
const plain = (place) => place.replace(/\s/g, "");
const seconds = (milliseconds) => Math.max(-MAX_SECONDS, Math.min(MAX_SECONDS, milliseconds / 1000));

export class Filters {
  /** ``changed(typing)`` is called after every change; ``typing``: more changes may follow at once. */
  constructor({ panel, button, chips, changed }) {
    Object.assign(this, { panel, button, chips, changed, values: {}, paths: new Map() });
    button.addEventListener("click", () => this.open(panel.hidden));
    panel.addEventListener("input", () => this.take(true));
    panel.addEventListener("change", () => this.take(false));
    panel.addEventListener("reset", (event) => {
      event.preventDefault();
      this.clear();
    });
    panel.addEventListener("submit", (event) => {
      event.preventDefault();
      this.close();
    });
    for (const part of [panel, button]) {
      part.addEventListener("keydown", (event) => event.key === "Escape" && !panel.hidden && this.leave(event));
      part.addEventListener("focusout", (event) => event.relatedTarget && !this.holds(event.relatedTarget) && this.open(false));
    }
    document.addEventListener("pointerdown", (event) => !this.holds(event.target) && this.open(false));
  }

  get names() {
    return Object.keys(this.values);
  }

  /** Whether any filter restricts the pictures. */
  get narrow() {
    return this.names.some((name) => name !== "sort" && name !== "engine");
  }

  /** Parameters of a request; only a search has an order (``ordered``). */
  parameters({ ordered }) {
    const { folder, from, until, text, camera, near, min_bytes, sort, engine } = this.values;
    const which = {
      folder, text, camera, near: near && plain(near), min_bytes, after: from && seconds(midnight(from)), before: until && seconds(midnight(until, 1)),
    };
    return ordered ? { ...which, sort, engine } : which;
  }

  write(address) {
    for (const name of this.names) address.set(name, this.values[name]);
  }

  read(address) {
    const given = Object.keys(ALLOWED).map((name) => [name, address.get(name) ?? ""]);
    this.values = Object.fromEntries(given.filter(([name, value]) => ALLOWED[name](value)));
    this.show();
    if (this.values.folder?.startsWith("/")) this.suggest();  // a whole path has a shorter name
  }

  clear() {
    this.values = {};
    this.show();
    this.changed(false);
  }

  set(name, value) {
    if (value) this.values[name] = value;
    else delete this.values[name];
    this.show();
    this.changed(false);
  }

  /** All filters in words, for the name of an album. */
  get described() {
    const names = Object.keys(ALLOWED).filter((name) => this.values[name]);
    return names.map((name) => CHIP_TEXT[name]((name === "folder" && this.short(this.values[name])) || this.values[name])).join(", ");
  }

  /** Offer the engines of the served index; one that an address names stays. */
  offer(engines) {
    for (const option of this.panel.elements.engine.options)
      option.hidden = option.disabled = option.value !== "" && !engines.includes(option.value) && !option.selected;
  }

  /** Enable the filters; a search for sentences ignores them. */
  allow(is) {
    this.button.disabled = !is;
    this.chips.hidden = !is || !this.names.length;
    if (!is) this.open(false);
  }

  // The panel

  open(is) {
    if (this.panel.hidden === !is) return;
    this.panel.hidden = !is;
    this.button.setAttribute("aria-expanded", String(is));
    if (is) this.suggest();
  }

  close() {
    this.open(false);
    this.button.focus();
  }

  leave(event) {
    event.preventDefault();
    event.stopPropagation();
    this.close();
  }

  holds(target) {
    return this.panel.contains(target) || this.button.contains(target);
  }

  /** The folders of the index, by their names below its root. */
  async suggest() {
    const answer = await server.folders().catch(() => null);  // the search reports errors
    if (!answer) return;
    this.paths = new Map(answer.folders.map(({ name, path }) => [name, path]));
    const options = answer.folders.map(({ name, items }) => element("option", { value: name, label: `${name} (${items.toLocaleString("en")})` }));
    this.panel.querySelector("datalist").replaceChildren(...options);
    if (document.activeElement !== this.panel.elements.folder) this.fill();
    this.showChips();
  }

  /** Read the fields. The name of a folder counts when its field is left. */
  take(typing) {
    const fields = this.panel.elements, given = fields.folder.value, folder = given.trim();
    const read = Object.fromEntries(Object.keys(ALLOWED).map((name) => [name, fields[name].value]));
    read.folder = this.paths.get(given) ?? this.paths.get(folder) ?? (typing && folder ? this.values.folder ?? "" : folder);
    const values = Object.fromEntries(Object.entries(read).filter(([name, value]) => ALLOWED[name](value)));
    if (JSON.stringify(values) === JSON.stringify(this.values)) return;
    this.values = values;
    this.showChips();
    this.changed(typing);
  }

  fill() {
    const fields = this.panel.elements;
    for (const name of Object.keys(ALLOWED)) {
      const value = this.values[name] ?? "", field = fields[name];
      if (name === "min_bytes" && ![...field.options].some((option) => option.value === value))
        field.append(element("option", { value }, size(value)));
      field.value = name === "folder" ? this.short(value) ?? value : value;
    }
  }

  /** The name of a folder of the index. */
  short(folder) {
    return [...this.paths].find(([, path]) => path === folder)?.[0];
  }

  // The chips

  show() {
    this.fill();
    this.showChips();
  }

  showChips() {
    const { names, chips, button } = this, shown = [...chips.children], focused = shown.indexOf(document.activeElement);
    const fresh = Object.keys(ALLOWED).filter((name) => names.includes(name)).map((name) => this.chip(name));
    const same = fresh.length === shown.length && fresh.every((chip, at) => chip.isEqualNode(shown[at]));
    if (!same) chips.replaceChildren(...fresh);  // a chip under the finger must not be replaced
    chips.hidden = !names.length;
    const active = button.querySelector("b");
    active.hidden = !names.length;
    active.textContent = names.length;
    button.setAttribute("aria-label", names.length ? `Filters, ${names.length} set` : "Filters");
    if (!same && focused >= 0) (chips.children[Math.min(focused, chips.children.length - 1)] ?? button).focus();
  }

  chip(name) {
    const value = this.values[name], text = CHIP_TEXT[name]((name === "folder" && this.short(value)) || value);
    return element("button", {
      type: "button", class: "filter", "aria-label": `${text}: remove this filter`,
      title: name === "folder" ? this.values.folder : undefined, onclick: () => this.set(name, ""),
    }, text, element("span", { class: "mark", "aria-hidden": "true" }, "×"));
  }
}
