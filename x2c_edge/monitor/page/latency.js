// The moving chart of how old a frame was when its command left: every frame, and percentiles of 5 seconds.

const SHOWN_MS = 30000;
const WINDOW_MS = 5000;

export class LatencyChart {
  constructor(canvas) {
    this.canvas = canvas;
    this.points = []; // [time on the page's clock, age in ms]
    this.lines = []; // [time, p50, p95, p99]
    this.budget = 50;
    this.due = 0;
  }

  add(age) {
    this.points.push([performance.now(), age]);
  }

  percentiles(now) {
    const ages = this.points.filter(([t]) => now - t < WINDOW_MS).map(([, age]) => age).sort((a, b) => a - b);
    if (!ages.length) return null;
    return [0.5, 0.95, 0.99].map((q) => ages[Math.min(Math.max(Math.ceil(q * ages.length) - 1, 0), ages.length - 1)]);
  }

  // Returns the newest percentiles, or null when there is nothing yet.
  draw() {
    const now = performance.now();
    while (this.points.length && now - this.points[0][0] > SHOWN_MS) this.points.shift();
    while (this.lines.length && now - this.lines[0][0] > SHOWN_MS) this.lines.shift();
    const newest = this.percentiles(now);
    if (newest && now >= this.due) {
      this.due = now + 250;
      this.lines.push([now, ...newest]);
    }
    const { canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    const g = canvas.getContext("2d");
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, width, height);
    const top = Math.max(this.budget * 1.25, ...this.lines.slice(-120).map((line) => line[3] * 1.1));
    const x = (t) => width - ((now - t) / SHOWN_MS) * width;
    const y = (ms) => height - (ms / top) * height;
    g.font = "11px system-ui, sans-serif";
    g.strokeStyle = "#d5401e";
    g.setLineDash([6, 4]);
    g.beginPath();
    g.moveTo(0, y(this.budget));
    g.lineTo(width, y(this.budget));
    g.stroke();
    g.setLineDash([]);
    g.fillStyle = "#ff8a70";
    g.fillText(`budget ${this.budget} ms`, 4, y(this.budget) - 4);
    g.fillStyle = "rgba(152, 161, 169, 0.55)";
    for (const [t, age] of this.points) g.fillRect(x(t), y(Math.min(age, top)), 1.5, 1.5);
    ["#56b4e9", "#e69f00", "#f0e442"].forEach((colour, k) => {
      g.strokeStyle = colour;
      g.lineWidth = 1.5;
      g.beginPath();
      this.lines.forEach((line, i) => (i ? g.lineTo(x(line[0]), y(line[k + 1])) : g.moveTo(x(line[0]), y(line[k + 1]))));
      g.stroke();
    });
    return newest;
  }
}
