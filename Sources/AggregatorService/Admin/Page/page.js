// Shows what /v1/events sends: an overview each second. docs/admin.md says what its fields mean.

import { Chart } from "./chart.js";
import { bytes, clock, grouped, milliseconds, rate, span } from "./format.js";

const kinds = {
  idle: "Idle", filling: "Filling", storing: "Storing", waiting: "Waiting for a slot", backingOff: "Backing off", full: "Full",
};
const triggers = ["size", "weight", "linger", "flush", "shutdown", "split"];
const all = "";

const $ = (id) => document.getElementById(id);
const chart = new Chart($("chart"));

let selected = decodeURIComponent(location.hash.slice(1));
let overview;
let history;
let toldKind;

function text(id, value) {
  const node = typeof id === "string" ? $(id) : id;
  if (node.textContent !== value) node.textContent = value;
}

// MARK: The connection

const silence = 4000;
let source;
let lastNews = 0;
let lostSince;
let historyIsComing = false;

function connect() {
  source = new EventSource("/v1/events");
  source.onmessage = (event) => receive(JSON.parse(event.data));
  source.onerror = () => {
    lose();
    // After an answer that is no stream the browser gives up; we do not.
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
  };
}

function lose() {
  lostSince ??= Date.now();
  document.body.classList.add("stale");
  showLink();
}

function showLink() {
  if (lostSince) {
    $("link").dataset.link = "lost";
    text("link-text", `Connection lost ${span(Math.round((Date.now() - lostSince) / 1000) || 1)} ago, trying again`);
  } else if (overview) {
    $("link").dataset.link = "live";
    text("link-text", overview.state === "draining" ? "Live, draining" : `Live, up ${span(Math.floor(overview.uptime) || 1)}`);
  }
}

setInterval(() => {
  if (lastNews && !lostSince && Date.now() - lastNews > silence) lose();
  if (lostSince) showLink();
}, 1000);

function notice(words) {
  $("notice").hidden = !words;
  text("notice", words ?? "");
}

let noticeEnd;
function receive(news) {
  const before = overview;
  overview = news;
  lastNews = Date.now();
  lostSince = undefined;
  document.body.classList.remove("stale");
  const start = ({ time, uptime }) => time - uptime;
  if (before && (news.uptime < before.uptime || Math.abs(start(news) - start(before)) > 1.5)) {
    notice(`The program was restarted at ${clock(start(news))}: numbers began anew.`);
    noticeEnd = lastNews + 60_000;
    history = undefined;
  } else if (news.state === "draining") {
    notice("It is about to end: no more messages are taken, and what is held is being stored.");
    noticeEnd = Infinity;
  } else if (lastNews > (noticeEnd ?? Infinity)) {
    notice();
  }
  extendHistory();
  showLink();
  show();
}

// MARK: The last two minutes

function extendHistory() {
  if (history && overview.second === history.second) return;
  if (!history || overview.second !== history.second + 1) return fetchHistory();
  history.second = overview.second;
  const push = (series, last) => {
    for (const what of ["received", "stored"]) {
      series[what].push(last[what]);
      if (series[what].length > 120) series[what].shift();
    }
  };
  push(history.totals, overview.totals.lastSecond);
  for (const { name, numbers } of overview.streams) {
    history.streams[name] ??= { received: [], stored: [] };
    push(history.streams[name], numbers.lastSecond);
  }
}

async function fetchHistory() {
  if (historyIsComing) return;
  historyIsComing = true;
  try {
    const answer = await fetch("/v1/history");
    if (answer.ok) history = await answer.json();
    show();
  } catch {
    // The stream of events tells when the program is gone.
  } finally {
    historyIsComing = false;
  }
}

// MARK: What is shown

function show() {
  if (!overview) return;
  const stream = overview.streams.find(({ name }) => name === selected);
  const numbers = stream?.numbers ?? overview.totals;
  showStreams(stream ? selected : all);
  showState(stream?.limit ?? overview.limit, stream ? undefined : overview.limit.stream);
  showLog(overview.log);
  showFlow(numbers, (stream ? history?.streams[selected] : history?.totals) ?? { received: [], stored: [] });
  showHeld(numbers, stream);
  showBatches(numbers);
  showTimes(numbers);
  showLedger(numbers);
  showFailure(numbers.lastFailure);
  showLast(numbers.recentBatches, Boolean(stream) || overview.streams.length < 2);
  text("version", overview.version);
  text("source", overview.source);
  text("target", overview.target);
  const { batchSize, lingerMilliseconds, concurrency, capacity } = overview.settings;
  text("settings", `Batch size ${grouped(batchSize)}, linger ${+lingerMilliseconds.toFixed(3)} ms, ` +
    `${concurrency === 1 ? "one store call" : `${grouped(concurrency)} store calls`} at once, capacity ${grouped(capacity)}`);
}

function showStreams(current) {
  const holder = $("streams");
  holder.hidden = overview.streams.length < 2;
  const entries = [
    { name: all, title: "All streams", numbers: overview.totals, limit: overview.limit }, ...overview.streams,
  ];
  const known = [...holder.querySelectorAll("input")].map(({ value }) => value);
  if (known.join() !== entries.map(({ name }) => name).join()) makeStreams(holder, entries);
  holder.querySelectorAll("input").forEach((input, index) => {
    const { numbers, limit } = entries[index];
    input.checked = input.value === current;
    const label = input.nextElementSibling;
    label.dataset.kind = limit.kind;
    label.title = kinds[limit.kind];
    text(label.lastElementChild, `${rate(numbers.receivedPerSecond)}/s`);
  });
}

function makeStreams(holder, entries) {
  const focused = document.activeElement?.name === "stream" ? document.activeElement.value : undefined;
  holder.querySelectorAll("span.choice").forEach((node) => node.remove());
  entries.forEach(({ name, title }, index) => {
    const choice = document.createElement("span");
    choice.className = "choice";
    const input = Object.assign(document.createElement("input"), { type: "radio", name: "stream", value: name, id: `stream-${index}` });
    input.addEventListener("change", () => select(name));
    const label = document.createElement("label");
    label.htmlFor = input.id;
    const dot = document.createElement("i");
    dot.className = "dot";
    const word = document.createElement("b");
    word.textContent = title ?? name;
    label.append(dot, word, document.createElement("small"));
    choice.append(input, label);
    holder.append(choice);
    if (name === focused) input.focus();
  });
}

function select(name) {
  selected = name;
  window.history.replaceState(null, "", name ? `#${encodeURIComponent(name)}` : location.pathname);
  show();
}

window.addEventListener("hashchange", () => select(decodeURIComponent(location.hash.slice(1))));

function showState({ kind, sentence }, stream) {
  $("state").dataset.kind = kind;
  text("state-word", stream ? `${kinds[kind] ?? kind}: ${stream}` : kinds[kind] ?? kind);
  // The sentence begins with the word, which is above it already.
  const rest = sentence.slice(sentence.indexOf(":") + 1).trim();
  // A number and its unit stay on one line.
  text("state-sentence", (rest.charAt(0).toUpperCase() + rest.slice(1)).replace(/(\d) (?=%|ms\b)/g, "$1\u00a0"));
  $("scale").querySelectorAll("li").forEach((item) => item.classList.toggle("on", item.dataset.name === kind));
  document.title = `${kinds[kind] ?? kind} · aggregator`;
  // Read out when the word changes, not with every number in the sentence.
  const told = `${selected} ${kind}`;
  if (told !== toldKind) text("state-live", sentence);
  toldKind = told;
}

const mostPartitions = 6;

function showLog(log) {
  $("log").hidden = !log;
  if (!log) return;
  text("log-sentence", log.sentence);
  text("log-behind", log.behind === null ? "–" : grouped(log.behind));
  text("log-assigned", log.isShared ? "shared" : `${grouped(log.assigned)} ${log.assigned === 1 ? "partition" : "partitions"}`);
  text("log-redelivered", grouped(log.redelivered));
  text("log-what", log.isShared ? "Durable consumer" : "Partition");
  // Those that are furthest behind.
  const shown = [...log.partitions].sort((a, b) => (b.behind ?? 0) - (a.behind ?? 0)).slice(0, mostPartitions);
  const body = $("log-partitions");
  $("log-table").hidden = shown.length === 0;
  while (body.rows.length < shown.length) {
    const row = body.insertRow();
    row.insertCell();
    row.insertCell();
  }
  while (body.rows.length > shown.length) body.deleteRow(-1);
  shown.forEach(({ name, behind }, index) => {
    const { cells } = body.rows[index];
    text(cells[0], name);
    text(cells[1], behind === null ? "–" : grouped(behind));
  });
  $("log-more").hidden = log.assigned <= shown.length;
  text("log-more", `And ${grouped(log.assigned - shown.length)} more that are less far behind.`);
}

function showFlow(numbers, series) {
  text("rate-in", rate(numbers.receivedPerSecond));
  text("rate-out", rate(numbers.storedPerSecond));
  chart.show(series, overview.time - overview.uptime + (history?.second ?? 0) + 1);
}

function bar(id, share) {
  const node = typeof id === "string" ? $(id) : id;
  const percent = Math.min(Math.max(share, 0), 1) * 100;
  node.firstElementChild.style.width = `${percent}%`;
  if (node.hasAttribute("aria-valuenow")) node.setAttribute("aria-valuenow", Math.round(percent));
}

function fullness(id, share) {
  bar(id, share);
  $(id).classList.toggle("high", share >= 0.7 && share < 0.95);
  $(id).classList.toggle("over", share >= 0.95);
}

function showHeld(numbers, stream) {
  const held = stream ? numbers.held : overview.held;
  text("held", grouped(held));
  text("held-of", `of ${grouped(overview.settings.capacity)}`);
  fullness("held-bar", held / overview.settings.capacity);
  text("in-flight", grouped(numbers.inFlight));
  text("busy", `${numbers.busy.toFixed(2)} of ${grouped(overview.settings.concurrency)}`);
  const { journal } = overview;
  $("journal").hidden = !journal;
  if (!journal) return;
  fullness("journal-bar", journal.bytes / journal.maximumBytes);
  text("journal-messages", grouped(journal.messages));
  text("journal-bytes", `${bytes(journal.bytes)} of ${bytes(journal.maximumBytes)}`);
  text("journal-oldest", journal.messages ? span(journal.oldestSeconds) : "–");
}

function showBatches(numbers) {
  const mean = numbers.meanBatch;
  text("mean", mean === null ? "–" : rate(mean));
  text("mean-of", mean === null ? "none lately" : `of ${grouped(overview.settings.batchSize)} on average`);
  bar("fill-bar", (mean ?? 0) / overview.settings.batchSize);
  const total = Object.values(numbers.batches).reduce((sum, count) => sum + count, 0);
  for (const row of $("triggers").rows) {
    const count = numbers.batches[row.dataset.trigger] ?? 0;
    row.classList.toggle("none", count === 0);
    bar(row.cells[1].firstElementChild, total ? count / total : 0);
    text(row.cells[2], grouped(count));
  }
}

// Where a time is between 0.1 ms and 100 s, by its logarithm.
const place = (time) => Math.min(Math.max((Math.log10(Math.max(time, 0.1)) + 1) / 6, 0), 1) * 99;

function showTimes(numbers) {
  for (const [name, times] of [["wait", numbers.waitMilliseconds], ["store", numbers.handlerMilliseconds]]) {
    for (const share of [50, 90, 99]) text(`${name}-${share}`, milliseconds(times[`p${share}`]));
    const [range, mark] = $(`${name}-spread`).children;
    const none = times.p50 === null;
    range.hidden = mark.hidden = none;
    if (none) continue;
    range.style.left = `${place(times.p50)}%`;
    range.style.width = `${Math.max(place(times.p99) - place(times.p50), 0.5)}%`;
    mark.style.left = `${place(times.p50)}%`;
  }
}

function showLedger(numbers) {
  for (const [id, value] of Object.entries({
    received: numbers.received, recovered: numbers.recovered, stored: numbers.stored, refused: numbers.refused,
    "ledger-held": numbers.held, rejected: numbers.rejected, retries: numbers.retries,
    dead: overview.deadLetters ?? 0, connections: overview.connections ?? 0,
  })) text(id, grouped(value));
  $("refused").classList.toggle("bad", numbers.refused > 0);
  $("rejected").classList.toggle("bad", numbers.rejected > 0);
  $("dead").classList.toggle("bad", overview.deadLetters > 0);
  $("recovered-row").hidden = !numbers.recovered;
  $("dead-row").hidden = overview.deadLetters === null;
  $("connections-row").hidden = overview.connections === null;
}

function showFailure(failure) {
  $("failure").hidden = !failure;
  if (!failure) return;
  text("failure-when", `${span(Math.max(Math.floor(overview.time - failure.time), 1))} ago`);
  text("failure-reason", failure.reason);
}

function showLast(batches, isOfOne) {
  const body = $("last");
  body.parentElement.classList.toggle("one", isOfOne);
  $("last-none").hidden = batches.length > 0;
  body.parentElement.hidden = batches.length === 0;
  while (body.rows.length < batches.length) {
    const row = body.insertRow();
    for (const name of ["began", "of", "number", "due", "number", ""]) row.insertCell().className = name;
  }
  while (body.rows.length > batches.length) body.deleteRow(-1);
  batches.forEach((batch, index) => {
    const { cells } = body.rows[index];
    text(cells[0], clock(batch.time));
    text(cells[1], batch.stream);
    cells[1].title = batch.stream;
    text(cells[2], grouped(batch.messages));
    text(cells[3], batch.trigger);
    text(cells[4], milliseconds(batch.milliseconds));
    text(cells[5], batch.attempts > 1 ? `${batch.outcome}, try ${batch.attempts}` : batch.outcome);
    cells[5].dataset.outcome = batch.outcome;
  });
}

// MARK: The parts that stay

for (const [kind, word] of Object.entries(kinds)) {
  const item = document.createElement("li");
  item.dataset.name = kind;
  item.textContent = word;
  $("scale").append(item);
}
for (const trigger of triggers) {
  const row = $("triggers").insertRow();
  row.dataset.trigger = trigger;
  const name = document.createElement("th");
  name.scope = "row";
  name.textContent = trigger;
  row.append(name);
  const track = document.createElement("div");
  track.className = "bar";
  track.append(document.createElement("i"));
  row.insertCell().append(track);
  row.insertCell();
}
for (const name of ["wait", "store"]) {
  $(`${name}-spread`).append(document.createElement("i"), document.createElement("b"));
}

$("flush").addEventListener("click", async () => {
  $("flush").disabled = true;
  text("flush-said", "Flushing…");
  try {
    const answer = await fetch("/v1/flush", { method: "POST" });
    text("flush-said", answer.ok ? "Flushed." : (await answer.text()).trim());
  } catch {
    text("flush-said", "It could not be reached.");
  } finally {
    $("flush").disabled = false;
  }
});

connect();
