// Maps of a picture: bright where a word or a sentence is seen, dark elsewhere.

const DARK = 0.62, TINT = 0.28;  // how much of the picture is covered at 0 (with black) and at 1 (with the hue)

/** Canvas with a pixel for each value of ``rows``, which the page stretches over the picture. */
export function heatMap(rows, hue) {
  const canvas = document.createElement("canvas"), [red, green, blue] = [1, 3, 5].map((at) => parseInt(hue.slice(at, at + 2), 16));
  canvas.className = "heat";
  [canvas.width, canvas.height] = [rows[0].length, rows.length];
  const drawing = canvas.getContext("2d"), image = drawing.createImageData(canvas.width, canvas.height);
  rows.flat().forEach((value, n) => {
    const covered = DARK * (1 - value) + TINT * value, share = TINT * value / covered;
    image.data.set([red * share, green * share, blue * share, 255 * covered].map(Math.round), 4 * n);
  });
  drawing.putImageData(image, 0, 0);
  return canvas;
}
