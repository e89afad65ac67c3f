/* Curves of one run: uPlot charts that share a cursor and a zoom, with smoothing and a logarithmic scale. */
(() => {
  const { el, number, bytes } = window.Page;
  const colour = (name, fallback) => getComputedStyle(document.body).getPropertyValue(name).trim() || fallback;
  const smoothed = (values, share) => {
    if (!share) return values;
    let sum = 0,
      weight = 0;
    return values.map((v) => {
      if (v == null) return null;
      sum = sum * share + (1 - share) * v;
      weight = weight * share + (1 - share);
      return sum / weight;
    });
  };
  const TITLES = {
    learning_rate: "Learning rate",
    grad_norm: "Gradient norm",
    tokens_per_second: "Tokens per second",
    memory_bytes: "Memory",
  };
  const HINTS = {
    learning_rate: "The size of the steps: a short rise, then a fall to zero.",
    grad_norm: "How strongly each step pulls. Spikes are usual; a steady climb is a bad sign.",
    tokens_per_second: "Speed, padding not counted.",
    memory_bytes: "Memory in use by the training process.",
  };
  // What trainers on pairs of answers call so is no part of a score.
  const OF_PAIRS = new Set(["rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies"]);
  const PART = "One part of the score by itself, before its weight. It should rise without the others falling.";
  const HIDDEN = new Set(["epoch", "tokens"]);

  /** Which colour draws a line: where several kinds are drawn, a held-out line has its twin's, and dashes. */
  const look = (series, n) => {
    const twin = series.findIndex(([key]) => series[n][0] === `eval_${key}`);
    return series.length > 2 && twin >= 0 ? { colour: twin + 1, dash: [5, 4] } : { colour: n + 1 };
  };

  // A run that is watched for days: what the browser holds is thinned as the server thins what it sends at first.
  const MOST = 12000,
    LEFT = 4000;
  /** The lowest and the highest point of every stretch, in their order. */
  const thinned = ([steps, values]) => {
    const width = Math.ceil((2 * steps.length) / LEFT),
      kept = [];
    for (let start = 0; start < steps.length; start += width) {
      let low = -1,
        high = -1;
      for (let i = start; i < Math.min(start + width, steps.length); i++) {
        if (values[i] == null) continue;
        if (low < 0 || values[i] < values[low]) low = i;
        if (high < 0 || values[i] > values[high]) high = i;
      }
      if (low >= 0) kept.push(...(low === high ? [low] : [Math.min(low, high), Math.max(low, high)]));
    }
    return [kept.map((i) => steps[i]), kept.map((i) => values[i])];
  };

  class Chart {
    constructor(board, about) {
      this.board = board;
      this.about = about;
      this.zoomed = false;
      this.legend = el("span", { class: "legend" });
      this.plot = el("div", { class: "plot", role: "img", "aria-label": `${about.title} chart` });
      this.element = el(
        "figure",
        { class: "chart" },
        el("figcaption", {}, el("b", {}, about.title), this.legend),
        this.plot,
        about.good ? el("p", { class: "chart-good" }, about.good) : "",
      );
      new ResizeObserver(() => this.fit()).observe(this.plot);
    }
    make() {
      const axis = {
        stroke: () => colour("--st-soft", "#777"),
        grid: { stroke: () => colour("--st-line", "#eee"), width: 1 },
        ticks: { show: false },
        font: "11px IBM Plex Sans, system-ui, sans-serif",
      };
      const words = this.about.bytes ? bytes : number;
      this.u = new uPlot(
        {
          width: this.plot.clientWidth || 400,
          height: 200,
          legend: { show: false },
          padding: [8, 10, 0, 0],
          cursor: { sync: { key: this.board.key, setSeries: false }, drag: { x: true, y: false }, points: { size: 7 } },
          scales: { x: { time: false }, y: { distr: this.board.log ? 3 : 1, range: (u, low, high) => this.range(low, high) } },
          axes: [
            { ...axis, size: 26, values: (u, v) => v.map((n) => (Number.isInteger(n) ? n.toLocaleString("en") : "")) },
            { ...axis, size: 58, values: (u, v) => v.map((n) => (n == null ? "" : words(n))) },
          ],
          series: [
            {},
            ...this.about.series.map(([key, label], n) => ({
              label,
              stroke: () => colour(`--chart-${look(this.about.series, n).colour}`, "#0d7768"),
              dash: look(this.about.series, n).dash,
              width: 1.8,
              spanGaps: true,
              points: { show: key.startsWith("eval_"), size: 5 },
            })),
          ],
          hooks: { setCursor: [() => this.say()], draw: [(u) => this.marks(u), (u) => this.best(u)] },
        },
        [[], ...this.about.series.map(() => [])],
        this.plot,
      );
      this.u.over.addEventListener("mouseup", () => setTimeout(() => this.board.zoom(this), 0));
      this.u.over.addEventListener("dblclick", () => this.board.unzoom());
    }
    fit() {
      const width = this.plot.clientWidth;
      if (this.u && width && Math.abs(width - this.u.width) > 1) this.u.setSize({ width, height: 200 });
    }
    range(low, high) {
      if (low == null) return this.board.log ? [0.1, 1] : [0, 1];
      if (this.board.log) return [low > 0 ? low * 0.9 : 1e-9, high > 0 ? high * 1.1 : 1];
      const pad = (high - low || Math.abs(high) || 1) * 0.06;
      return [low - pad, high + pad];
    }
    draw() {
      if (!this.u) this.make();
      const share = this.about.smooth === false ? 0 : this.board.share;
      const tables = this.about.series.map(([key]) => {
        const [steps, values] = this.board.curves[key] ?? [[], []];
        const drawn = key.startsWith("eval_") ? values : smoothed(values, share);
        return [steps, this.board.log ? drawn.map((v) => (v > 0 ? v : null)) : drawn];
      });
      const data = tables.length === 1 ? tables[0] : uPlot.join(tables);
      const { min, max } = this.u.scales.x;
      this.u.batch(() => {
        this.u.setData(data, !this.zoomed);
        if (this.zoomed) this.u.setScale("x", { min, max });
      });
      this.say();
    }
    say() {
      const at = this.u.cursor.idx,
        data = this.u.data,
        words = this.about.bytes ? bytes : number;
      const parts = this.about.series.flatMap(([key, label], n) => {
        if (!this.board.curves[key]?.[0].length) return []; // declared, or thought of, and never logged
        let i = at ?? data[0].length - 1;
        while (at == null && i > 0 && data[n + 1][i] == null) i--;
        const { colour, dash } = look(this.about.series, n);
        return el(
          "span",
          {},
          el("i", { class: `key-${colour}${dash ? " dashed" : ""}` }),
          this.about.series.length > 1 ? `${label} ` : "",
          el("b", {}, words(data[n + 1]?.[i])),
        );
      });
      if (at != null) parts.push(el("span", {}, "step ", el("b", {}, String(data[0][at]))));
      this.legend.replaceChildren(...parts);
    }
    /** Where the run went on from a checkpoint. */
    marks(u) {
      const { ctx, bbox } = u;
      ctx.save();
      ctx.strokeStyle = colour("--st-soft", "#777");
      ctx.lineWidth = devicePixelRatio;
      ctx.setLineDash([2 * devicePixelRatio, 4 * devicePixelRatio]);
      for (const step of this.board.resumed) {
        const x = u.valToPos(step, "x", true);
        if (x < bbox.left || x > bbox.left + bbox.width) continue;
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
      }
      ctx.restore();
    }
    best(u) {
      const { step, value } = this.board.best ?? {};
      if (step == null || !this.about.series.some(([key]) => key === this.board.judgedBy)) return;
      const x = u.valToPos(step, "x", true),
        y = u.valToPos(value, "y", true),
        ctx = u.ctx,
        ratio = devicePixelRatio;
      if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) return;
      ctx.save();
      ctx.strokeStyle = ctx.fillStyle = colour("--chart-2", "#c2620a");
      ctx.lineWidth = 1.5 * ratio;
      ctx.beginPath();
      ctx.arc(x, y, 7 * ratio, 0, 7);
      ctx.stroke();
      ctx.font = `600 ${11 * ratio}px IBM Plex Sans, sans-serif`;
      ctx.textAlign = x > u.bbox.left + u.bbox.width / 2 ? "right" : "left";
      ctx.fillText("best", x + (ctx.textAlign === "right" ? -11 : 11) * ratio, y - 8 * ratio);
      ctx.restore();
    }
  }

  /** A chart for a metric that the trainer declares none for: with its held-out twin, if that has none either. */
  const undeclared = (key, known) => {
    const name = key.replace(/^eval_/, ""),
      words = name.replace(/^rewards\//, "Reward: ").replaceAll("_", " ");
    if (TITLES[key] || known.has(name))
      return {
        title: TITLES[key] ?? `${words}, held-out`,
        series: [[key, words]],
        good: HINTS[key] ?? "",
        bytes: key.endsWith("bytes"),
        smooth: !["learning_rate", "memory_bytes"].includes(key),
      };
    return {
      title: words,
      series: [
        [name, "training"],
        [`eval_${name}`, "held-out"],
      ],
      ...(name.startsWith("rewards/") && !OF_PAIRS.has(name) ? { good: PART, part: true } : {}),
    };
  };

  /** All charts of a run. `curves` is {metric: [[steps], [values]]}. */
  class Board {
    constructor(element, machine, key) {
      this.element = element;
      this.machine = machine; // how the machine does, apart from what is learned
      this.key = uPlot.sync(key).key;
      this.curves = {};
      this.charts = [];
      this.known = new Set();
      this.share = 0;
      this.log = false;
      this.best = null;
      this.resumed = [];
      this.judgedBy = "eval_loss";
    }
    about(charts) {
      for (const chart of charts) this.place(chart);
      this.declared = true;
    }
    place(about) {
      const chart = new Chart(this, about);
      about.series.forEach(([key]) => this.known.add(key));
      this.charts.push(chart);
      if (about.part) {
        // the parts of a score stand beside the score
        (this.parts ?? this.charts[0].element).after(chart.element);
        this.parts = chart.element;
      } else (TITLES[about.series[0][0]] ? this.machine : this.element).append(chart.element);
    }
    add(curves, reset) {
      if (reset) this.curves = {};
      for (const [key, [steps, values]] of Object.entries(curves)) {
        const mine = (this.curves[key] ??= [[], []]);
        for (let i = 0; i < steps.length; i++) {
          mine[0].push(steps[i]);
          mine[1].push(values[i]);
        }
        if (mine[0].length > MOST) this.curves[key] = thinned(mine);
        if (this.known.has(key) || HIDDEN.has(key)) continue;
        this.place(undeclared(key, this.known));
      }
      this.draw();
    }
    draw() {
      for (const chart of this.charts) {
        const any = chart.about.series.some(([key]) => this.curves[key]?.[0].length);
        chart.element.hidden = !any;
        if (any) chart.draw();
      }
      this.machine.parentElement.hidden = ![...this.machine.children].some((chart) => !chart.hidden);
    }
    rescale(log) {
      this.log = log;
      for (const chart of this.charts) {
        chart.u?.destroy();
        chart.u = null;
        chart.zoomed = false;
      }
      this.draw();
    }
    zoom(from) {
      const { min, max } = from.u.scales.x,
        steps = from.u.data[0];
      if (!(min > steps[0] || max < steps.at(-1))) return;
      for (const chart of this.charts)
        if (chart.u) {
          chart.zoomed = true;
          if (chart !== from) chart.u.setScale("x", { min, max });
        }
    }
    unzoom() {
      for (const chart of this.charts)
        if (chart.u) {
          chart.zoomed = false;
          chart.u.setData(chart.u.data, true);
        }
    }
    last(key) {
      const values = this.curves[key]?.[1] ?? [];
      for (let i = values.length - 1; i >= 0; i--) if (values[i] != null) return values[i];
      return null;
    }
    repaint() {
      for (const chart of this.charts) chart.u?.redraw();
    }
  }
  window.Charts = { Board };
})();
