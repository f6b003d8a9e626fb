for (const example of document.querySelectorAll(".example")) {
  let kept = null;
  const show = (place) => {
    example.classList.toggle("choosing", place !== null);
    for (const part of example.querySelectorAll("[data-place]"))
      part.classList.toggle("lit", part.dataset.place === place);
  };
  const placeAt = (event) => event.target.closest("[data-place]")?.dataset.place ?? null;
  example.addEventListener("pointerover", (event) => show(placeAt(event) ?? kept));
  example.addEventListener("pointerleave", () => show(kept));
  example.addEventListener("focusin", (event) => show(placeAt(event)));
  example.addEventListener("focusout", () => show(kept));
  example.addEventListener("click", (event) => {
    const place = placeAt(event);
    kept = place === kept ? null : place;
    show(kept);
  });
  example.addEventListener("keydown", (event) => {
    if (event.key === "Escape") show((kept = null));
  });
}
