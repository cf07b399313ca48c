// The chart of the last two minutes: messages in as a line, messages stored as a line over an area.

import { clock, compact, grouped } from "./format.js";

const seconds = 120;
const width = 1000;
const height = 100;

function element(name, attributes = {}) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

// The least of 1, 2, 5, 10, 20, 50, … that is not less, so that the scale stays while numbers move a little.
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 10)));
  return [1, 2, 5, 10].map((digit) => digit * power).find((step) => step >= value) ?? value;
}

export class Chart {
  #series = { received: [], stored: [] };
  #end = 0;
  #top = 10;

  constructor(holder) {
    this.holder = holder;
    this.svg = element("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img" });
    this.rules = [0.04, 0.52, 1].map((share) =>
      element("line", { class: "rule", x1: 0, x2: width, y1: share * height, y2: share * height }));
    this.area = element("path", { class: "area" });
    this.stored = element("path", { class: "out" });
    this.received = element("path", { class: "in" });
    this.cursor = element("line", { class: "cursor", y1: 0, y2: height, visibility: "hidden" });
    this.svg.append(...this.rules, this.area, this.stored, this.received, this.cursor);
    this.labels = [0.04, 0.52].map((share) => {
      const label = document.createElement("span");
      label.className = "y";
      label.setAttribute("aria-hidden", "true");
      label.style.top = `${share * 100}%`;
      return label;
    });
    this.tip = document.createElement("div");
    this.tip.className = "tip";
    this.tip.hidden = true;
    holder.append(this.svg, ...this.labels, this.tip);
    const times = document.createElement("div");
    times.className = "chart-times";
    times.setAttribute("aria-hidden", "true");
    times.append(...["2 minutes ago", "1 minute", "now"].map((text) => {
      const span = document.createElement("span");
      span.textContent = text;
      return span;
    }));
    holder.after(times);
    this.svg.addEventListener("pointermove", (event) => this.#point(event));
    this.svg.addEventListener("pointerdown", (event) => this.#point(event));
    this.svg.addEventListener("pointerleave", () => this.#leave());
  }

  // One number a second, oldest first; `end` is when the last of them ended, in seconds since 1970.
  show(series, end) {
    this.#series = series;
    this.#end = end;
    const most = Math.max(...series.received, ...series.stored, 1);
    this.#top = ceiling(most);
    this.labels[0].textContent = compact(this.#top);
    this.labels[1].textContent = compact(this.#top / 2);
    this.received.setAttribute("d", this.#line(series.received));
    const stored = this.#line(series.stored);
    this.stored.setAttribute("d", stored);
    this.area.setAttribute("d", stored && `${stored}V${height}H${this.#x(0, series.stored.length)}Z`);
    this.svg.setAttribute("aria-label",
      `Messages a second over the last two minutes: at most ${grouped(Math.max(...series.received, 0))} in, ` +
      `${grouped(Math.max(...series.stored, 0))} stored`);
    if (this.pointed !== undefined) this.#tell();
  }

  #x(index, count) { return ((seconds - count + index) / (seconds - 1)) * width; }

  #y(value) { return (0.04 + 0.96 * (1 - value / this.#top)) * height; }

  #line(values) {
    return values.map((value, index) =>
      `${index ? "L" : "M"}${this.#x(index, values.length).toFixed(1)} ${this.#y(value).toFixed(2)}`).join("");
  }

  #point(event) {
    const box = this.svg.getBoundingClientRect();
    this.pointed = Math.round(((event.clientX - box.left) / box.width) * (seconds - 1));
    this.#tell();
  }

  #leave() {
    this.pointed = undefined;
    this.#hide();
  }

  #hide() {
    this.tip.hidden = true;
    this.cursor.setAttribute("visibility", "hidden");
  }

  #tell() {
    const count = this.#series.received.length;
    const index = this.pointed - (seconds - count);
    if (index < 0 || index >= count) return this.#hide();
    const x = this.#x(index, count);
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
    this.cursor.setAttribute("visibility", "visible");
    this.tip.replaceChildren(
      clock(this.#end - (count - 1 - index)), document.createElement("br"),
      `In ${grouped(this.#series.received[index])}, stored ${grouped(this.#series.stored[index])}`);
    this.tip.hidden = false;
    const share = x / width;
    this.tip.style.left = share < 0.5 ? `calc(${share * 100}% + 10px)` : "auto";
    this.tip.style.right = share < 0.5 ? "auto" : `calc(${(1 - share) * 100}% + 10px)`;
  }
}
