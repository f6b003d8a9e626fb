for (const example of document.querySelectorAll(".example")) {
  let kept = null;
  const show = (part) => {
    const { place, heat } = part ?? {};
    example.classList.toggle("choosing", part !== null);
    example.classList.toggle("heated", heat !== undefined);
    const isLit = ({ tagName, dataset }) =>
      tagName !== "g" && heat !== undefined ? dataset.heat === heat : place !== undefined && dataset.place === place;
    for (const one of example.querySelectorAll("[data-place], [data-heat]")) one.classList.toggle("lit", isLit(one));
  };
  const placeAt = (event) => event.target.closest("[data-place], [data-heat]")?.dataset ?? null;
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
