// Numbers and times as people read them.

const groups = new Intl.NumberFormat("en");
const clockFormat = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

export const grouped = (number) => groups.format(number);

export function compact(number) {
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (number >= size) return `${+(number / size).toFixed(1)}${letter}`;
  }
  return `${+number.toFixed(1)}`;
}

// A rate: whole from ten on, with one decimal below.
export const rate = (number) => number >= 10 || number === 0 ? grouped(Math.round(number)) : number.toFixed(1);

export function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 100_000) return `${grouped(Math.round(value / 1000))} s`;
  if (value >= 1000) return `${(value / 1000).toPrecision(3)} s`;
  if (value >= 100) return `${Math.round(value)} ms`;
  if (value >= 10) return `${value.toFixed(1)} ms`;
  return value >= 0.01 ? `${value.toFixed(2)} ms` : "< 0.01 ms";
}

export function bytes(value) {
  for (const [size, unit] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) {
    if (value >= size) return `${+(value / size).toFixed(value / size < 10 ? 1 : 0)} ${unit}`;
  }
  return `${value} B`;
}

export function span(seconds) {
  if (seconds < 1) return `${seconds.toFixed(1)} s`;
  const parts = [[86_400, "d"], [3_600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([size]) => seconds >= size);
  return parts.slice(first, first + 2).map(([size, unit], index) => {
    const value = Math.floor(index ? (seconds % parts[first][0]) / size : seconds / size);
    return value || !index ? `${value} ${unit}` : "";
  }).filter(Boolean).join(" ");
}

// Of the day, by the watcher's own clock settings.
export const clock = (time) => clockFormat.format(new Date(time * 1000));
