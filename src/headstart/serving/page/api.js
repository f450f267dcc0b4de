// The API as functions. Every call ends in an answer or in a Problem that can be shown as it is.

export class Problem extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

const TOKEN = "headstart-token";
const MOST_TRIES = 30;
const NOT_REACHED = "The server does not answer. Is headstart serve still running?";

let askForToken = async () => null;
let asking = null; // several calls may find out at once: the question is asked once

// `ask(wrong)` resolves to a token, or to null when none is given.
export function onTokenNeeded(ask) {
  askForToken = ask;
}

function headers() {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

const wait = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

async function call(path, options = {}) {
  for (let tries = 0; ; tries += 1) {
    let response;
    try {
      response = await fetch(path, { ...options, headers: headers() });
    } catch {
      throw new Problem(NOT_REACHED);
    }
    if (response.status === 401) {
      asking ??= askForToken(sessionStorage.getItem(TOKEN) !== null).finally(() => {
        asking = null;
      });
      const token = await asking;
      if (token === null) throw new Problem("Without the token the server does not answer.", 401);
      sessionStorage.setItem(TOKEN, token);
    } else if (response.status === 503 && tries < MOST_TRIES) {
      await wait((Number(response.headers.get("Retry-After")) || 1) * (0.5 + Math.random()));
    } else {
      return response;
    }
  }
}

async function document(response) {
  try {
    return await response.json();
  } catch {
    throw new Problem(`The server gave no readable answer (status ${response.status}).`, response.status);
  }
}

export async function model() {
  const response = await call("/v1/model");
  const about = await document(response);
  if (!response.ok) throw new Problem(about.error?.message ?? "The server refused.", response.status);
  return about;
}

// Rows for `files`, in order. A picture that cannot be read is a row with an error.
export async function predict(files, { top = 5, explain = false } = {}) {
  const form = new FormData();
  for (const file of files) form.append("file", file, file.name || "pasted.png");
  const response = await call(`/v1/predict?top=${top}${explain ? "&explain=1" : ""}`, { method: "POST", body: form });
  const answer = await document(response);
  if (answer.predictions) return answer.predictions;
  throw new Problem(answer.error?.message ?? "The server refused.", response.status);
}

// A training picture as an object URL, or null when it is not there any more.
export async function trainingPicture(index) {
  const response = await call(`/v1/training-picture/${index}`);
  return response.ok ? URL.createObjectURL(await response.blob()) : null;
}
