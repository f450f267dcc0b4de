// The chosen picture: large, its classes as bars, where the classifier looked, what it is most like.

import { heatCanvas } from "./heat.js";
import { confidence, percent } from "./words.js";

function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

function figure(item, state) {
  const frame = element("div", "frame");
  const picture = element("img", "picture");
  picture.alt = item.name;
  picture.src = item.url;
  picture.addEventListener("error", () => {
    picture.hidden = true;
    frame.classList.add("unseen");
    frame.append(element("p", "hint", "This browser cannot show the picture."));
  });
  frame.append(picture);
  const heat = item.explained?.heat;
  if (heat) {
    const canvas = heatCanvas(heat);
    canvas.hidden = !state.heat;
    frame.append(canvas);
  }
  const made = element("figure", "stage");
  made.append(frame);
  return made;
}

function heatSwitch(item, state, redraw) {
  const label = element("label", "switch");
  const box = Object.assign(element("input"), { type: "checkbox", checked: state.heat, id: "heat" });
  box.addEventListener("change", () => {
    state.heat = box.checked;
    redraw();
  });
  label.append(box, ` Show what speaks for “${item.row.class}”`);
  return label;
}

function bars(item, threshold) {
  const list = element("ul", "bars");
  for (const [k, [name, share]] of item.row.top.entries()) {
    const line = element("li", k === 0 && share >= threshold ? "first" : "");
    const track = element("span", "track");
    const bar = element("span", "bar");
    bar.style.width = `${Math.max(0.4, 100 * share)}%`;
    track.append(bar);
    line.append(element("span", "bar-name", name), element("span", "bar-share", confidence(share)), track);
    list.append(line);
  }
  return list;
}

function verdict(item, threshold) {
  const { row } = item;
  const made = element("div", "verdict");
  if (row.probability < threshold) {
    made.append(element("h2", "unsure", "Unsure"));
    made.append(element("p", "hint", `Most likely “${row.class}”, but ${confidence(row.probability)} is below ${percent(threshold)}.`));
  } else {
    made.append(element("h2", "", row.class));
    made.append(element("p", "hint", `Confidence ${confidence(row.probability)}`));
  }
  return made;
}

function neighbours(item, pictureOf) {
  const near = item.explained?.nearest ?? [];
  if (!near.length) return null;
  const made = element("section", "near");
  made.append(element("h3", "", "Most alike among the training pictures"));
  const list = element("ul", "tiles");
  for (const one of near) {
    const tile = element("li", "tile");
    const frame = element("span", "tile-frame");
    if (one.picture) {
      const picture = element("img");
      picture.alt = "";
      pictureOf(one.index).then((url) => {
        if (url) picture.src = url;
        else frame.classList.add("unseen");
      });
      frame.append(picture);
    } else {
      frame.classList.add("unseen");
    }
    const name = element("span", "tile-name", one.name.split("/").pop());
    name.title = one.name;
    tile.append(frame, element("span", "tile-label", one.label), name);
    list.append(tile);
  }
  made.append(list);
  return made;
}

function failure(item) {
  const made = element("div", "verdict");
  made.append(element("h2", "bad", "Not read"), element("p", "", item.problem ?? item.row.error));
  return made;
}

// `state`: {threshold, heat}; `redraw` is called when the switch changes; `pictureOf(index)` gives an object URL.
export function showDetail(place, item, state, redraw, pictureOf) {
  const hadFocus = document.activeElement?.id === "heat";
  const side = element("div", "side");
  side.append(element("p", "name", item.name));
  if (item.problem || item.row?.error) {
    side.append(failure(item));
  } else if (!item.row) {
    side.append(element("p", "hint", "Waiting for its turn …"));
  } else {
    side.append(verdict(item, state.threshold), bars(item, state.threshold));
    if (item.explained?.heat) side.append(heatSwitch(item, state, redraw));
  }
  const near = item.row && !item.row.error ? neighbours(item, pictureOf) : null;
  place.replaceChildren(figure(item, state), side, ...(near ? [near] : []));
  if (hadFocus) place.querySelector("#heat")?.focus();
}
