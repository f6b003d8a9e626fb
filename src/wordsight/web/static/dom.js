// Elements, dates, sizes and the clipboard.

/** Create an element. Keys "on..." are listeners, keys "--..." style properties; undefined and false are left out. */
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

/** A button within a sentence. */
export const inlineButton = (text, onclick) => element("button", { type: "button", class: "inline", onclick }, text);

/** "7 Sept 2024" in local time, from milliseconds since 1970. */
export const date = (when) => new Date(when).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });

/** "340 KB" */
export function size(bytes) {
  const unit = bytes >= 2 ** 20 ? [2 ** 20, "MB"] : [2 ** 10, "KB"];
  return `${(bytes / unit[0]).toLocaleString("en", { maximumSignificantDigits: 2 })} ${unit[1]}`;
}

/** Copy a text; returns whether it worked. ``within`` gets a temporary element that takes the focus. */
export async function copied(text, within) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {  // browsers offer it only with https or on this machine
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
