// The page: pictures come in, are sent a few at a time, and their answers are shown.

import { model, onTokenNeeded, predict, Problem, trainingPicture } from "./api.js";
import { save, table } from "./csv.js";
import { showDetail } from "./detail.js";
import { accuracySentence, confidence, listed, megabytes, percent, thresholdSentence } from "./words.js";

const find = (id) => document.getElementById(id);
const AT_ONCE = 8; // pictures in one request
const SHOWN_CLASSES = 5;

const state = { about: null, items: [], chosen: null, threshold: 0.5, heat: true, sending: false };
const trainingPictures = new Map();

// ---- pictures come in

function add(files) {
  const pictures = [...files].filter((file) => file.type.startsWith("image/") || file.type === "");
  const others = files.length - pictures.length;
  complain(others ? `${others === 1 ? "One file is" : `${others} files are`} no picture and left out.` : "");
  if (!pictures.length) return;
  const items = pictures.map((file) => ({
    file,
    name: file.name || "pasted picture",
    url: URL.createObjectURL(file),
    row: null,
    problem: null,
    explained: null,
    line: null,
  }));
  state.items.push(...items);
  find("results").hidden = false;
  document.body.classList.add("busy-page");
  for (const item of items) addLine(item);
  choose(items[0]);
  send();
}

function listen() {
  for (const id of ["choose", "photograph"]) {
    find(id).addEventListener("change", (event) => {
      add(event.target.files);
      event.target.value = ""; // the same picture can be chosen again
    });
  }
  const drop = find("drop");
  let depth = 0;
  document.addEventListener("dragenter", (event) => {
    event.preventDefault();
    depth += 1;
    drop.classList.add("over");
  });
  document.addEventListener("dragleave", () => {
    depth -= 1;
    if (depth <= 0) drop.classList.remove("over");
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    drop.classList.remove("over");
    add(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData?.files.length) add(event.clipboardData.files);
    else complain("There is no picture on the clipboard.");
  });
}

// ---- they are sent

async function send() {
  if (state.sending) return;
  state.sending = true;
  try {
    for (let group = nextGroup(); group.length; group = nextGroup()) {
      await answer(group);
      progress();
    }
  } finally {
    state.sending = false;
    progress();
  }
}

// Pictures that wait, as many as fit into one request. Those that are too large are not sent at all.
function nextGroup() {
  const { limits } = state.about ?? { limits: { picture_bytes: 20e6, request_bytes: 100e6, pictures: AT_ONCE } };
  const group = [];
  let bytes = 0;
  for (const item of state.items) {
    if (item.row || item.problem) continue;
    if (item.file.size > limits.picture_bytes) {
      item.problem = `file too large (limit ${megabytes(limits.picture_bytes)})`;
      showLine(item);
      continue;
    }
    bytes += item.file.size + 1000;
    if (group.length && (bytes > limits.request_bytes || group.length >= Math.min(AT_ONCE, limits.pictures))) break;
    group.push(item);
  }
  return group;
}

async function answer(group) {
  try {
    const rows = await predict(group.map((item) => item.file), { top: SHOWN_CLASSES });
    group.forEach((item, k) => {
      item.row = rows[k];
    });
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    for (const item of group) item.problem = error.message;
    complain(error.message);
  }
  for (const item of group) {
    showLine(item);
    if (item === state.chosen) choose(item);
  }
}

async function explain(item) {
  const { explains } = state.about ?? {};
  if (!explains || !(explains.heat || explains.nearest) || item.explaining || !item.row || item.row.error) return;
  item.explaining = true;
  try {
    const [row] = await predict([item.file], { top: SHOWN_CLASSES, explain: true });
    item.explained = { heat: row.heat, nearest: row.nearest };
    if (item === state.chosen) draw();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    item.explained = {};
  }
}

function pictureOf(index) {
  if (!trainingPictures.has(index)) trainingPictures.set(index, trainingPicture(index).catch(() => null));
  return trainingPictures.get(index);
}

// ---- and shown

function addLine(item) {
  const line = find("row-template").content.firstElementChild.cloneNode(true);
  item.line = line;
  const picture = line.querySelector("img");
  picture.src = item.url;
  picture.addEventListener("error", () => picture.remove());
  line.querySelector("button").addEventListener("click", () => choose(item));
  find("list").append(line);
  showLine(item);
  find("list").classList.toggle("single", state.items.length === 1);
}

function showLine(item) {
  const { line, row } = item;
  const bad = item.problem ?? row?.error;
  const unsure = row && !bad && row.probability < state.threshold;
  line.querySelector(".row-class").textContent = bad ? "not read" : row ? (unsure ? "unsure" : row.class) : "…";
  line.querySelector(".row-share").textContent = bad || !row ? "" : confidence(row.probability);
  line.querySelector(".row-name").textContent = item.name;
  line.classList.toggle("bad", Boolean(bad));
  line.classList.toggle("unsure", Boolean(unsure));
}

function choose(item) {
  state.chosen = item;
  for (const one of state.items) {
    one.line.querySelector("button").setAttribute("aria-current", one === item ? "true" : "false");
  }
  item.line.scrollIntoView({ block: "nearest", inline: "nearest" });
  draw();
  explain(item);
}

function draw() {
  if (state.chosen) showDetail(find("detail"), state.chosen, state, draw, pictureOf);
}

function progress() {
  const done = state.items.filter((item) => item.row || item.problem).length;
  const bad = state.items.filter((item) => item.problem || item.row?.error).length;
  const unread = bad ? `, ${bad} not read` : "";
  const some = state.items.length === 1 ? "1 picture" : `${state.items.length} pictures`;
  const text = done < state.items.length ? `${done} of ${some} …` : `${some} done${unread}.`;
  find("status").textContent = state.items.length ? text : "";
  find("csv").disabled = done === 0;
}

function complain(message) {
  const place = find("alert");
  place.hidden = !message;
  place.textContent = message;
}

function showThreshold() {
  const value = Number(find("unsure").value) / 100;
  state.threshold = value;
  find("unsure-value").textContent = percent(value);
  find("unsure").setAttribute("aria-valuetext", percent(value));
  find("unsure-meaning").textContent = state.about ? thresholdSentence(state.about.coverage, value) : "";
  for (const item of state.items) showLine(item);
  draw();
}

function clear() {
  for (const item of state.items) URL.revokeObjectURL(item.url);
  state.items = [];
  state.chosen = null;
  find("list").replaceChildren();
  find("detail").replaceChildren();
  find("results").hidden = true;
  document.body.classList.remove("busy-page");
  complain("");
  progress();
  find("choose").focus();
}

// ---- the model

function ask(wrong) {
  const dialog = find("token-dialog");
  find("token-wrong").hidden = !wrong;
  find("token").value = "";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(find("token").value.trim() || null), { once: true });
  });
}

async function introduce() {
  try {
    state.about = await model();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    complain(error.message);
    return;
  }
  const { about } = state;
  find("lead").textContent = `It tells ${about.classes.length} classes apart: ${listed(about.classes)}.`;
  find("about").textContent = accuracySentence(about);
  const { picture_bytes: bytes } = about.limits;
  find("limits").textContent = `JPEG, PNG, WebP, GIF, BMP or TIFF, up to ${megabytes(bytes)} each`;
  showThreshold();
}

onTokenNeeded(ask);
listen();
find("unsure").addEventListener("input", showThreshold);
find("csv").addEventListener("click", () => save(table(state.items, state.threshold), "predictions.csv"));
find("clear").addEventListener("click", clear);
progress();
introduce();
