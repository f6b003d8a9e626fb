// Keyboard: the search field, and arrows between pictures.

/** Listen for keys; ``opens()`` returns the buttons of the pictures in order. */
export function listen(input, opens) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const typing = event.target.matches("input:not([type=radio]), select");
    if (event.key === "/" && event.target === input && !input.value) return take(event, input);  // no query begins with it
    if (event.target === document.body && event.key.length === 1 && !" /".includes(event.key)) return input.focus();  // typing goes to the field
    if ((event.key === "/" || event.key === "Escape") && !typing) return take(event, input);
    const all = opens();
    if (event.target === input && event.key === "ArrowDown") return take(event, all[0]);
    const at = all.indexOf(event.target.closest?.(".hit")?.querySelector(".open"));
    if (at >= 0) take(event, next(all, at, event.key) ?? (event.key === "ArrowUp" ? input : undefined));
  });

  function take(event, target) {
    if (!target) return;
    event.preventDefault();
    target.focus();
    if (target === input) input.select();
  }
}

/** The picture that a key moves to. */
function next(all, at, key) {
  if (key === "ArrowRight") return all[at + 1];
  if (key === "ArrowLeft") return all[at - 1];
  if (key === "Home") return all[0];
  if (key === "End") return all.at(-1);
  if (key !== "ArrowDown" && key !== "ArrowUp") return undefined;
  const from = all[at].getBoundingClientRect(), down = key === "ArrowDown" ? 1 : -1;
  const beyond = all.map((one) => [one, one.getBoundingClientRect()]).filter(([, box]) => down * (box.top - from.top) > 4);
  const near = ([, box]) => Math.abs(box.top - from.top) * 4 + Math.abs(box.left - from.left);
  return beyond.sort((a, b) => near(a) - near(b))[0]?.[0];
}
