// The live page: what the run tells, drawn; what the operator wants, said.

import { HeadView } from "./head.js";
import { LatencyChart } from "./latency.js";

const byId = (id) => document.getElementById(id);
const token = location.hash.slice(1);
const DELAY_MS = 70; // the head and the bars are drawn so much behind, so that there is something to go towards
const HOLD_EVERY_MS = 50;
const AWAY = 0.02; // of a control's range
const SILENCE_MS = 2000;
const COLUMNS = 34; // of a command: time, state, flags, age, 30 values

const page = { socket: null, role: "", hello: null, values: null, shown: 0, commands: 0, pictures: 0, headError: "" };
window.page = page; // for a look from the browser's console
const chart = new LatencyChart(byId("latency"));
const rows = []; // commands that came and were not shown yet
let clock = null; // the run's clock minus the page's
let head = null;
let retryMs = 500;
let heardAt = 0; // the last snapshot, of which there are four a second
let silent = false;
let tunedAt = -Infinity;

// --- the connection ---

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/live`);
  socket.binaryType = "arraybuffer";
  page.socket = socket;
  socket.onopen = () => {
    socket.send(JSON.stringify({ token }));
    if (document.hidden) say({ do: "look", at: false });
  };
  socket.onmessage = ({ data }) => {
    retryMs = 500;
    if (typeof data === "string") hear(JSON.parse(data));
    else see(data);
  };
  socket.onclose = ({ code }) => {
    page.role = "";
    silent = false;
    clock = null;
    rows.length = 0;
    letGo();
    mayDo();
    if (code === 4401) notice("This page needs the token: open the address that the program printed when it started.", true);
    else notice("No connection to the run: its buttons do nothing now. Trying again.", true);
    setTimeout(connect, retryMs);
    retryMs = Math.min(retryMs * 1.5, 3000);
  };
}

function say(word) {
  if (page.socket && page.socket.readyState === WebSocket.OPEN) page.socket.send(JSON.stringify(word));
}

function notice(text, bad = false) {
  byId("notice").textContent = text;
  byId("notice").hidden = !text;
  byId("notice").classList.toggle("bad", bad);
}

function greeting() {
  notice(page.role === "operator" ? "" : "You can look, and stop the robot. The operator's address does the rest.");
}

// A run that hangs still has its page, which is served by another process.
function listenForSilence() {
  const seconds = (performance.now() - heardAt) / 1000;
  const now = Boolean(page.role) && 1000 * seconds > SILENCE_MS;
  if (now) {
    notice(`The run has said nothing for ${seconds.toFixed(0)} s: what is shown is old, and its buttons may do nothing.`, true);
    showState("STARTING", "…");
  } else if (silent && page.role) greeting();
  silent = now;
}

function hear(word) {
  if (word.kind === "you") {
    page.role = word.role;
    byId("log").replaceChildren(); // the server tells it from the start
    heardAt = performance.now();
    greeting();
    mayDo();
  } else if (word.kind === "hello") greet(word);
  else if (word.kind === "snapshot") tell(word);
  else if (word.kind === "log") {
    const item = document.createElement("li"), time = document.createElement("time");
    time.textContent = new Date(word.t * 1000).toLocaleTimeString();
    item.append(time, word.text);
    byId("log").prepend(item);
    while (byId("log").childElementCount > 100) byId("log").lastChild.remove();
  }
}

function see(data) {
  const kind = String.fromCharCode(new Uint8Array(data, 0, 1)[0]);
  if (kind === "C") takeCommands(new Float64Array(data, 8));
  else showPicture(kind, data);
}

function mayDo() {
  for (const element of document.querySelectorAll(".operator, #gains input, #hold")) element.disabled = page.role !== "operator";
  if (page.hello) byId("neutral").disabled ||= !page.hello.can.neutral;
  byId("stop").disabled = !page.role;
}

// --- what there is ---

function greet(hello) {
  page.hello = hello;
  chart.budget = hello.budget ?? chart.budget;
  document.title = `x2c-edge: ${hello.source ?? ""}`;
  byId("hold").hidden = !hello.can.hold;
  byId("play-box").hidden = !hello.can.play;
  byId("tune-box").hidden = !hello.can.tune;
  for (const id of ["resume", "reset", "neutral", "stop"]) byId(id).hidden = hello.can.look_only === true;
  byId("latency-box").hidden = hello.budget === undefined;
  byId("camera-box").hidden = hello.can.pictures === false;
  byId("face-box").hidden = true;
  page.values = hello.controls.map((control) => control.neutral);
  byId("bars").replaceChildren(...hello.controls.map(bar));
  if (hello.can.tune) makeGains(hello);
  mayDo();
}

function bar(control) {
  const share = (value) => (100 * (value - control.low)) / (control.high - control.low);
  const row = document.createElement("div"), name = document.createElement("b"), track = document.createElement("div");
  const [safe, rest, now] = ["safe", "rest", "now"].map((kind) => {
    const part = document.createElement("i");
    part.className = kind;
    return part;
  });
  safe.style.left = `${share(control.safe[0])}%`;
  safe.style.width = `${share(control.safe[1]) - share(control.safe[0])}%`;
  rest.style.left = now.style.left = `${share(control.neutral)}%`;
  row.className = "bar";
  row.title = `${control.name}: ${control.low} to ${control.high}, safe ${control.safe.map((v) => v.toFixed(3)).join(" to ")}`;
  name.textContent = control.name;
  track.className = "track";
  track.append(safe, rest, now);
  const output = document.createElement("output");
  row.append(name, track, output);
  control.show = (value) => {
    now.style.left = `${share(value)}%`;
    output.textContent = value.toFixed(3);
    row.classList.toggle("away", Math.abs(value - control.neutral) > AWAY * (control.high - control.low));
  };
  control.show(control.neutral);
  return row;
}

function makeGains(hello) {
  byId("mirror").checked = hello.mirror;
  byId("gains").replaceChildren(...Object.entries(hello.gain).map(([group, gain]) => {
    const label = document.createElement("label"), slider = document.createElement("input"), output = document.createElement("output");
    Object.assign(slider, { type: "range", min: 0, max: 3, step: 0.05, value: gain });
    slider.dataset.group = group;
    output.textContent = Number(gain).toFixed(2);
    slider.oninput = () => {
      output.textContent = Number(slider.value).toFixed(2);
      tune();
    };
    label.append(group, slider, output);
    return label;
  }));
}

// Another page may have tuned it, or this one before it was loaded again; what is just being moved here stays.
function showTuning(facts) {
  if (!facts.gain || performance.now() - tunedAt < 1000) return;
  byId("mirror").checked = facts.mirror;
  for (const slider of document.querySelectorAll("#gains input")) {
    slider.value = facts.gain[slider.dataset.group];
    slider.nextElementSibling.textContent = Number(slider.value).toFixed(2);
  }
}

// --- what happens ---

function takeCommands(table) {
  const now = performance.now();
  const ahead = table[table.length - COLUMNS] - now;
  // The newest command is never later than now: the largest difference seen is the truest, slowly forgotten.
  if (clock === null || Math.abs(ahead - clock) > 1000) {
    clock = ahead;
    rows.length = 0;
  } else clock = Math.max(clock - 0.02, ahead);
  for (let at = 0; at < table.length; at += COLUMNS) {
    rows.push(table.subarray(at, at + COLUMNS));
    if (!Number.isNaN(table[at + 3])) chart.add(table[at + 3]);
  }
  page.commands += table.length / COLUMNS;
  while (rows.length > 600) rows.shift();
  showState(page.hello?.states[table[table.length - COLUMNS + 1]]);
}

function showState(name, text = name) {
  if (!name) return;
  byId("state").dataset.state = name;
  byId("state-name").textContent = text;
}

function tell(facts) {
  page.snapshot = facts;
  heardAt = performance.now();
  showState(facts.state);
  showTuning(facts);
  byId("state-reason").textContent = facts.advice || facts.reason;
  byId("gear").textContent = [facts.gear, facts.vision_fps === undefined ? "" : `${facts.vision_fps.toFixed(1)} frames/s`].join("  ");
  const lines = {
    source: page.hello?.source, pack: page.hello?.pack, device: page.hello?.device,
    time: facts.elapsed_s?.toFixed(0) + " s",
    frames: `${facts.frames}, ${facts.with_face} with a face, ${facts.skipped} skipped`,
    commands: facts.commands, misses: `${facts.misses} of ${facts.budget_ms} ms`,
    tick: `jitter p99 ${facts.tick_jitter_p99_ms?.toFixed(2)} ms`,
    ...facts.lines,
  };
  byId("facts").replaceChildren(...Object.entries(lines).filter(([, value]) => value !== undefined && !String(value).includes("undefined")).flatMap(([key, value]) => {
    const dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = key;
    dd.textContent = value;
    return [dt, dd];
  }));
  byId("links").tBodies[0].replaceChildren(...(facts.links ?? []).map((link) => {
    const row = document.createElement("tr");
    for (const text of [link.uri, link.state, `${link.sent} sent`, link.errors ? `${link.errors} errors: ${link.last_error}` : ""]) row.insertCell().textContent = text;
    row.cells[1].className = link.state === "up" ? "up" : "down";
    return row;
  }));
  if (facts.position !== undefined) {
    byId("position").value = 1000 * facts.position;
    byId("pause").textContent = facts.paused ? "Play" : "Pause";
  }
}

async function showPicture(kind, data) {
  const length = new DataView(data).getUint32(8, true);
  const facts = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 12, length)));
  const image = await createImageBitmap(new Blob([new Uint8Array(data, 12 + length)], { type: "image/jpeg" }));
  const canvas = byId(kind === "P" ? "camera" : "face");
  if (canvas.width !== image.width || canvas.height !== image.height) {
    Object.assign(canvas, { width: image.width, height: image.height });
  }
  const g = canvas.getContext("2d");
  g.drawImage(image, 0, 0);
  image.close();
  if (kind === "F") byId("face-box").hidden = false;
  else {
    if (!facts.face) byId("face-box").hidden = true;
    drawCrop(g, facts, canvas.width / facts.width);
    byId("hint").textContent = facts.hint;
  }
  page.pictures += 1;
}

function drawCrop(g, facts, scale) {
  if (facts.crop) {
    const [a, b, c, d, e, f] = facts.crop.affine, low = -0.5, high = facts.crop.size - 0.5;
    g.strokeStyle = "#e69f00";
    g.lineWidth = 2;
    g.beginPath();
    for (const [x, y] of [[low, low], [high, low], [high, high], [low, high]]) {
      g.lineTo((a * x + b * y + c + 0.5) * scale, (d * x + e * y + f + 0.5) * scale);
    }
    g.closePath();
    g.stroke();
  }
  g.fillStyle = "#56b4e9";
  const points = facts.landmarks ?? [];
  for (let k = 0; k < points.length; k += 2) g.fillRect((points[k] + 0.5) * scale - 1, (points[k + 1] + 0.5) * scale - 1, 2.2, 2.2);
}

// --- every display frame ---

function valuesAt(time) {
  while (rows.length > 1 && rows[1][0] <= time) rows.shift();
  if (!rows.length) return page.values;
  const [a, b] = rows;
  if (!b || a[0] > time) return Array.from(a.subarray(4));
  const share = Math.min((time - a[0]) / Math.max(b[0] - a[0], 1), 1);
  return Array.from({ length: 30 }, (_, k) => a[4 + k] + share * (b[4 + k] - a[4 + k]));
}

// Where there is no graphics card the head is drawn less often, so that the rest of the page stays quick.
const pace = { last: 0, drawn: 0, pause: 0 };
function drawHead() {
  const now = performance.now();
  pace.pause = now - pace.last > 30 ? Math.min(pace.pause * 1.05 + 2, 250) : Math.max(pace.pause * 0.98 - 1, 0);
  pace.last = now;
  if (!head || now - pace.drawn < pace.pause) return;
  pace.drawn = now;
  head.draw(page.values);
}

function draw() {
  requestAnimationFrame(draw);
  if (!page.hello) return;
  if (clock !== null) page.values = valuesAt(performance.now() + clock - DELAY_MS);
  page.shown += 1;
  listenForSilence();
  page.hello.controls.forEach((control, k) => control.show(page.values[k]));
  drawHead();
  if (page.shown % 6 === 0 && !byId("latency-box").hidden) {
    const newest = chart.draw();
    if (newest) byId("latency-now").textContent = `p50 ${newest[0].toFixed(1)}  p95 ${newest[1].toFixed(1)}  p99 ${newest[2].toFixed(1)} ms`;
  }
}

// --- what the operator wants ---

for (const request of ["stop", "resume", "reset", "neutral"]) byId(request).onclick = () => say({ do: request });

let holding = 0;
function takeHold() {
  if (holding || byId("hold").disabled) return;
  say({ do: "hold" });
  holding = setInterval(() => say({ do: "hold" }), HOLD_EVERY_MS);
  byId("hold").classList.add("held");
}
function letGo() {
  if (!holding) return;
  clearInterval(holding);
  holding = 0;
  say({ do: "release" });
  byId("hold").classList.remove("held");
}
byId("hold").addEventListener("pointerdown", (event) => {
  byId("hold").setPointerCapture(event.pointerId);
  takeHold();
});
for (const end of ["pointerup", "pointercancel", "lostpointercapture", "contextmenu"]) byId("hold").addEventListener(end, letGo);
addEventListener("blur", letGo);
addEventListener("keydown", (event) => {
  if (event.code !== "Space") return;
  event.preventDefault(); // nor press, tick or open what has the focus
  if (page.hello?.can.hold) takeHold();
  else if (!event.repeat) say({ do: "stop" });
});
addEventListener("keyup", (event) => {
  if (event.code !== "Space") return;
  event.preventDefault(); // some browsers press and tick only now
  letGo();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) letGo();
  say({ do: "look", at: !document.hidden });
});

let tuning = 0;
function tune() {
  tunedAt = performance.now();
  clearTimeout(tuning);
  tuning = setTimeout(() => {
    const gain = Object.fromEntries([...document.querySelectorAll("#gains input")].map((s) => [s.dataset.group, Number(s.value)]));
    say({ do: "tune", gain, mirror: byId("mirror").checked });
  }, 100);
}
byId("mirror").onchange = tune;
byId("pause").onclick = () => say({ do: "play", pause: byId("pause").textContent === "Pause" });
byId("step").onclick = () => say({ do: "play", step: 1 });
byId("speed").onchange = () => say({ do: "play", speed: Number(byId("speed").value) });

HeadView.open(byId("head")).then((view) => (page.head = head = view), (error) => {
  page.headError = String(error.message);
  byId("head-box").lastElementChild.textContent = `the head cannot be drawn: ${error.message}`;
});
mayDo();
connect();
requestAnimationFrame(draw);
