// The table of all pictures as a CSV file, made here.

// A spreadsheet takes a cell that begins with one of these for a formula: a quote in front keeps it text.
const FORMULA = /^[=+\-@\t\r\n]/;

function cell(value) {
  if (typeof value === "number") return String(value);
  const text = FORMULA.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function table(items, threshold, top = 3) {
  const ranks = Array.from({ length: top }, (_, k) => [`class_${k + 1}`, `probability_${k + 1}`]).flat();
  const rows = [["name", "class", "probability", "unsure", "error", ...ranks]];
  for (const { name, row, problem } of items) {
    const error = problem ?? row?.error ?? "";
    if (error || !row) {
      rows.push([name, "", "", "", error || "not sent", ...ranks.map(() => "")]);
      continue;
    }
    const unsure = row.probability < threshold ? "yes" : "no";
    const ranked = Array.from({ length: top }, (_, k) => row.top[k] ?? ["", ""]).flat();
    rows.push([name, row.class, row.probability, unsure, "", ...ranked]);
  }
  return rows.map((cells) => cells.map(cell).join(",")).join("\r\n") + "\r\n";
}

export function save(text, name) {
  // The mark in front tells spreadsheets that this is UTF-8.
  const url = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv;charset=utf-8" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
