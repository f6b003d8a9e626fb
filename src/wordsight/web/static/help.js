// The dialog that lists keys and operators.

/** Open it by its button, and by "?" where no text is being typed. */
export function listenForHelp(dialog, button, input) {
  const open = () => dialog.open || dialog.showModal();
  button.addEventListener("click", open);
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());  // beside it
  document.addEventListener("keydown", (event) => {
    if (event.key !== "?" || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const typing = event.target.matches("input:not([type=radio]):not([type=range]), select");
    if (typing && !(event.target === input && !input.value)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    open();
  }, { capture: true });
}
