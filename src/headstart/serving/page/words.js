// Numbers and sentences as people read them.

export const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)} %`;

// 0.9996 must not read as certainty, nor 0.0004 as impossible.
export function confidence(share) {
  if (share > 0.99 && share < 1) return share > 0.999 ? "> 99.9 %" : percent(share, 1);
  if (share < 0.001 && share > 0) return "< 0.1 %";
  return percent(share, share < 0.1 ? 1 : 0);
}

export function listed(names, most = 8) {
  const shown = names.slice(0, most).join(", ");
  return names.length > most ? `${shown} and ${names.length - most} more` : shown;
}

export function accuracySentence(model) {
  const { accuracy, test } = model;
  if (test?.top1 !== undefined && test.top1 !== null) {
    return `${percent(test.top1, 1)} right on ${test.n} test pictures (95 % interval ${percent(test.low)} to ${percent(test.high)})`;
  }
  if (accuracy?.top1 === undefined || accuracy.top1 === null) return "";
  const interval = accuracy.low !== null && accuracy.low !== undefined;
  return `${percent(accuracy.top1, 1)} right on pictures it had not seen${interval ? ` (95 % interval ${percent(accuracy.low)} to ${percent(accuracy.high)})` : ""}`;
}

// What a threshold means, by what was measured at the nearest one below.
export function thresholdSentence(coverage, threshold) {
  if (!coverage.length) return "How often that would be right was not measured for this run.";
  const known = coverage.filter((row) => row.threshold <= threshold + 1e-9);
  if (!known.length) return "Hardly anything is called unsure.";
  const row = known.reduce((best, next) => (next.threshold > best.threshold ? next : best));
  const right = row.top1 === null || row.top1 === undefined ? "" : `; ${percent(row.top1, 1)} of these were right`;
  const from = Math.abs(row.threshold - threshold) < 0.005 ? "In" : `At ${percent(row.threshold)}: in`;
  return `${from} cross-validation ${percent(row.coverage)} of the pictures got an answer${right}.`;
}

export function megabytes(bytes) {
  return `${Math.round(bytes / 1e6)} MB`;
}
