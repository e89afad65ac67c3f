/* What a sweep tried and what came of it, as a picture: one setting as points, several as a line for each run. */
(() => {
  const { el, number } = window.Page;
  const HEIGHT = 300,
    TOP = 48,
    BOTTOM = 34,
    SIDE = 46,
    NARROWEST = 82,
    WIDE = 10; // numbers so many times apart stand by their factors
  const svg = (tag, attributes = {}, ...children) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) if (value != null && value !== false) made.setAttribute(key, value);
    made.append(...children.flat());
    return made;
  };
  const short = (words, most) => (words.length > most ? `${words.slice(0, most - 1)}…` : words);

  /** Where the values of one setting, or of the measure, stand between 0 and 1, and what is written beside them. */
  const scale = (values, words, listed) => {
    const numbers = values.every((v) => typeof v === "number");
    if (!numbers) {
      const order = [...new Set([...listed, ...words])].filter((word) => words.includes(word));
      const at = (word) => (order.length > 1 ? order.indexOf(word) / (order.length - 1) : 0.5);
      return { at: (value, word) => at(word), ticks: order.map((word) => [at(word), word]) };
    }
    const low = Math.min(...values),
      high = Math.max(...values),
      log = low > 0 && high / low >= WIDE,
      to = log ? Math.log : (v) => v,
      at = (v) => (high > low ? (to(v) - to(low)) / (to(high) - to(low)) : 0.5);
    const distinct = [...new Set(values)],
      written = (v) => words[values.indexOf(v)];
    return { at, ticks: (distinct.length <= 6 ? distinct : [low, high]).map((v) => [at(v), written(v)]) };
  };
  /** Ticks that do not cover each other, the ends first. */
  const apart = (ticks, least) => {
    const kept = [];
    const sorted = [...ticks].sort((a, b) => a[0] - b[0]);
    for (const tick of [sorted[0], sorted.at(-1), ...sorted])
      if (tick && kept.every(([place]) => Math.abs(place - tick[0]) >= least)) kept.push(tick);
    return kept;
  };

  class SweepPicture {
    constructor(element) {
      this.element = element;
      this.plot = el("div", { class: "st-scroll sweep-plot" });
      this.title = el("b");
      this.words = el("p", { class: "chart-good" });
      this.figure = el("figure", { class: "chart sweep-picture" }, el("figcaption", {}, this.title), this.plot, this.words);
      new ResizeObserver(() => this.fit()).observe(this.plot);
    }
    show(found) {
      const drawn = found.tries.filter((t) => t.value != null && t.rank != null),
        key = JSON.stringify([drawn, found.axes, found.wanted]);
      if (key === this.key) return;
      this.key = key;
      this.found = found;
      this.drawn = drawn;
      if (drawn.length < 2) {
        const many = found.wanted > 1 && found.state === "working";
        this.element.replaceChildren(many ? el("p", { class: "st-soft" }, "A picture is drawn here once two runs have a result.") : "");
        return;
      }
      if (!this.figure.isConnected) this.element.replaceChildren(this.figure);
      this.draw();
    }
    fit() {
      if (this.drawn?.length > 1 && this.plot.clientWidth && this.plot.clientWidth !== this.width) this.draw();
    }
    draw() {
      const { found, drawn } = this,
        one = found.axes.length === 1;
      this.width = this.plot.clientWidth || 600;
      const measure = found.measure.split(",")[0],
        best = drawn.find((t) => t.rank === 1),
        left = found.tries.length - drawn.length;
      this.title.textContent = one ? `${found.axes[0].label} and ${measure}` : `What each run tried, and its ${measure}`;
      this.words.textContent =
        `${one ? "Each point" : "Each line"} is a run; higher up is better, and the best is ${one ? "large" : "thick"} and orange.` +
        (left ? ` ${left} without a result ${left > 1 ? "are" : "is"} not drawn.` : "");
      const told = drawn.slice(0, 8).map((t) => `${t.run}: ${window.SweepPage.chosen(found, t)}, ${number(t.value)}`);
      const label = `Picture of ${drawn.length} runs by ${found.measure}. Best: ${told.join("; ")}. The table has all numbers.`;
      const width = Math.max(this.width, one ? 0 : NARROWEST * (found.axes.length + 1));
      const picture = svg("svg", { role: "img", "aria-label": label, width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}` });
      const goodness = this.goodness();
      // the best is drawn last, on top of the others
      const order = [...drawn].sort((a, b) => (a === best) - (b === best) || b.rank - a.rank);
      picture.append(...(one ? this.points(order, goodness, width) : this.lines(order, goodness, width)));
      this.plot.replaceChildren(picture);
    }
    /** The measure with its best value at 1. */
    goodness() {
      const values = this.drawn.map((t) => t.value),
        made = scale(values, values.map(number), []),
        up = (place) => (this.found.higher_is_better ? place : 1 - place);
      return { at: (v) => up(made.at(v)), ticks: made.ticks.map(([place, words]) => [up(place), words]) };
    }
    of(axis) {
      const tried = this.drawn.filter((t) => t.words[axis.name] != null);
      return scale(
        tried.map((t) => t.values[axis.name]),
        tried.map((t) => t.words[axis.name]),
        axis.listed,
      );
    }
    y(place) {
      return TOP + (1 - place) * (HEIGHT - TOP - BOTTOM);
    }
    mark(t, made) {
      made.dataset.run = t.run;
      made.setAttribute("class", `try${t.rank === 1 ? " first" : ""}`);
      made.append(svg("title", {}, `${t.run}: ${window.SweepPage.chosen(this.found, t)}, ${number(t.value)}`));
      made.addEventListener("click", () => location.assign(`/run?id=${encodeURIComponent(t.run)}`));
      return made;
    }
    points(order, goodness, width) {
      const axis = this.found.axes[0],
        across = this.of(axis),
        x = (place) => SIDE + 14 + place * (width - 2 * SIDE - 28);
      const room = 64 / Math.max(1, width - 2 * SIDE - 28);
      return [
        svg("line", { x1: SIDE, x2: width - SIDE / 2, y1: HEIGHT - BOTTOM + 8, y2: HEIGHT - BOTTOM + 8 }),
        svg("line", { x1: SIDE, x2: SIDE, y1: TOP - 16, y2: HEIGHT - BOTTOM + 8 }),
        ...apart(across.ticks, room).map(([place, words]) =>
          svg("text", { x: x(place), y: HEIGHT - 8, "text-anchor": "middle" }, short(words, 14)),
        ),
        ...apart(goodness.ticks, 0.08).map(([place, words]) =>
          svg("text", { x: SIDE - 7, y: this.y(place) + 4, "text-anchor": "end" }, words),
        ),
        ...order.map((t) =>
          this.mark(
            t,
            svg("circle", {
              cx: x(across.at(t.values[axis.name], t.words[axis.name])),
              cy: this.y(goodness.at(t.value)),
              r: t.rank === 1 ? 8 : 6,
            }),
          ),
        ),
      ];
    }
    lines(order, goodness, width) {
      const axes = this.found.axes,
        scales = axes.map((axis) => this.of(axis)),
        gap = (width - 2 * SIDE) / axes.length,
        x = (n) => SIDE + n * gap,
        most = Math.max(8, Math.floor(gap / 7));
      const column = (n, label, { ticks }) => [
        svg("line", { x1: x(n), x2: x(n), y1: TOP, y2: HEIGHT - BOTTOM }),
        svg("text", { class: "axis", x: this.above(n, x, width), y: 16, "text-anchor": this.side(n) }, short(label, most), svg("title", {}, label)),
        ...apart(ticks, 0.08).map(([place, words]) =>
          svg("text", { class: "tick", x: x(n) + (n < axes.length ? 6 : -6), y: this.y(place) + 4, "text-anchor": n < axes.length ? "start" : "end" }, short(words, 12)),
        ),
      ];
      const measure = this.found.measure.split(",")[0].replace(/^./, (first) => first.toUpperCase());
      return [
        ...order.map((t) => this.mark(t, svg("polyline", { points: this.path(t, scales, goodness, x) }))),
        ...axes.flatMap((axis, n) => column(n, axis.label, scales[n])),
        ...column(axes.length, measure, goodness),
      ];
    }
    /** Where the name of an axis stands: those at the sides lean outwards, so that they do not touch their neighbours. */
    above(n, x, width) {
      return n === 0 ? 4 : n === this.found.axes.length ? width - 4 : x(n);
    }
    side(n) {
      return n === 0 ? "start" : n === this.found.axes.length ? "end" : "middle";
    }
    path(t, scales, goodness, x) {
      const places = this.found.axes.map((axis, n) =>
        t.words[axis.name] == null ? null : [x(n), this.y(scales[n].at(t.values[axis.name], t.words[axis.name]))],
      );
      // a setting that counts for nothing in this run is passed over
      return [...places.filter(Boolean), [x(scales.length), this.y(goodness.at(t.value))]].map((p) => p.join(",")).join(" ");
    }
    heat(run) {
      for (const made of this.plot.querySelectorAll("[data-run]")) made.classList.toggle("hot", made.dataset.run === run);
    }
  }
  window.SweepPicture = SweepPicture;
})();
