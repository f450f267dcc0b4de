// A heat map as a canvas that lies on its picture.

// From nothing to strong: transparent, violet, orange, pale yellow. Readable on light and dark pictures, and without red against green.
const STOPS = [
  [0.0, [60, 20, 120, 0]],
  [0.3, [110, 30, 130, 70]],
  [0.65, [235, 105, 40, 165]],
  [1.0, [255, 235, 130, 215]],
];

function colour(share) {
  const above = Math.max(1, STOPS.findIndex(([at]) => share <= at));
  const [low, a] = STOPS[above - 1];
  const [high, b] = STOPS[above];
  const part = (share - low) / (high - low);
  return a.map((value, k) => value + part * (b[k] - value));
}

// `heat`: {rows, columns, values 0..255, box}. The canvas covers `box` of the picture, which is `width` pixels wide.
export function heatCanvas(heat) {
  const grid = Object.assign(document.createElement("canvas"), { width: heat.columns, height: heat.rows });
  const image = new ImageData(heat.columns, heat.rows);
  heat.values.forEach((value, k) => image.data.set(colour(value / 255), 4 * k));
  grid.getContext("2d").putImageData(image, 0, 0);
  const canvas = Object.assign(document.createElement("canvas"), { width: 24 * heat.columns, height: 24 * heat.rows });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(grid, 0, 0, canvas.width, canvas.height);
  const [left, top, right, bottom] = heat.box;
  canvas.className = "heat";
  canvas.setAttribute("aria-hidden", "true");
  Object.assign(canvas.style, {
    left: `${100 * left}%`,
    top: `${100 * top}%`,
    width: `${100 * (right - left)}%`,
    height: `${100 * (bottom - top)}%`,
  });
  return canvas;
}
