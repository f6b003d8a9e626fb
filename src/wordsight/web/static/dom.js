// A name, attributes and children -> an element of the page.

/** Keys that begin with "on" are listeners, with "--" properties of its style; what is undefined or false is left out. */
export function element(name, given = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key.startsWith("--")) made.style.setProperty(key, value);
    else if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** A deed in the middle of a sentence. */
export const deed = (told, onclick) => element("button", { type: "button", class: "deed", onclick }, told);

/** "7 Sept 2024", of milliseconds since 1970, where the reader is. */
export const date = (when) => new Date(when).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });

/** "340 KB" */
export function size(bytes) {
  const unit = bytes >= 2 ** 20 ? [2 ** 20, "MB"] : [2 ** 10, "KB"];
  return `${(bytes / unit[0]).toLocaleString("en", { maximumSignificantDigits: 2 })} ${unit[1]}`;
}

/** Whether the text is on the clipboard now; ``within``: where an element may take the focus meanwhile. */
export async function copied(text, within) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {  // there is none without https, except on this machine
    const field = element("textarea", { class: "unseen", readonly: true }), focused = document.activeElement;
    field.value = text;
    within.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    focused?.focus();
    return done;
  }
}
