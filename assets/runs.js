/* The list of runs: state, what was trained on what, best loss, duration; rename and delete ask first. */
(() => {
  const { el, number, duration, get, post, pill, note, ask } = window.Page;
  const WORKING = ["queued", "preparing", "training", "evaluating", "saving"];
  const measureWords = (name) => name.replace(/^eval_/, "held-out ").replaceAll("_", " ");
  class Runs {
    constructor(element) {
      this.element = element;
      this.trouble = el("div");
      this.away = el("div");
      this.list = el("div");
      this.turn = 0;
      element.replaceChildren(this.trouble, this.away, this.list);
      this.tick();
    }
    async tick() {
      if (!this.element.isConnected) return;
      const turn = ++this.turn;
      let wait = 5000;
      if (!document.hidden) {
        try {
          const runs = await get("/studio/runs");
          if (turn !== this.turn) return; // asked again meanwhile, after something was done
          this.show(runs);
          this.away.replaceChildren();
          if (runs.some((r) => WORKING.includes(r.state))) wait = 2000;
        } catch (error) {
          if (turn !== this.turn) return;
          this.away.replaceChildren(
            note(error.status ? error : new Error("The studio does not answer; this list may be old. Asking again…")),
          );
        }
      }
      this.timer = setTimeout(() => this.tick(), wait);
    }
    show(runs) {
      if (!runs.length) {
        this.rows = null;
        this.list.replaceChildren(
          el(
            "div",
            { class: "empty" },
            el("p", {}, el("strong", {}, "No runs yet.")),
            el("p", {}, el("a", { class: "st-button main", href: "/" }, "Start one")),
          ),
        );
        return;
      }
      if (!this.rows) {
        const head = ["Run", "State", "Trainer", "Model", "Data", "Best", "Duration", "Disk", "Created", ""];
        this.rows = new Map();
        this.body = el("tbody");
        this.list.replaceChildren(
          el(
            "div",
            { class: "st-scroll" },
            el(
              "table",
              { class: "st-table runs-table" },
              el(
                "thead",
                {},
                el(
                  "tr",
                  {},
                  head.map((h) => el("th", { scope: "col" }, h)),
                ),
              ),
              this.body,
            ),
          ),
        );
      }
      // only rows that changed are drawn anew, so that the keyboard stays where it is
      const kept = new Map();
      runs.forEach((r, place) => {
        const key = JSON.stringify(r),
          old = this.rows.get(r.name),
          row = old?.key === key ? old : { key, node: this.row(r) };
        if (old && row !== old) old.node.replaceWith(row.node);
        if (this.body.children[place] !== row.node) this.body.insertBefore(row.node, this.body.children[place] ?? null);
        kept.set(r.name, row);
      });
      for (const [name, { node }] of this.rows) if (!kept.has(name)) node.remove();
      this.rows = kept;
    }
    row(r) {
      const measure = r.best_value == null ? r.measures.find((name) => r.metrics[name] != null) : r.measures[0],
        best = r.best_value ?? r.metrics[measure],
        busy = WORKING.includes(r.state);
      const steps = busy && r.total_steps ? ` ${Math.floor((100 * r.step) / r.total_steps)} %` : "";
      const button = (words, does) =>
        el(
          "button",
          {
            type: "button",
            class: "st-button small",
            disabled: busy,
            title: busy ? "Stop it first" : false,
            "aria-label": `${words} ${r.name}`,
            onclick: does,
          },
          words,
        );
      const cell = (label, ...content) => el("td", { "data-label": label }, ...content);
      return el(
        "tr",
        { "data-run": r.name },
        el("th", { scope: "row" }, el("a", { href: `/run?id=${encodeURIComponent(r.name)}` }, r.name), this.pipeline(r)),
        el("td", { title: r.reason || false }, pill(r.state), steps),
        cell("Trainer", r.trainer),
        cell("Model", r.model),
        cell("Data", el("bdi", {}, r.data.split("/").at(-1))),
        cell("Best", number(best), best == null ? "" : el("small", {}, ` ${measureWords(measure)}`)),
        cell("Duration", duration(r.seconds)),
        cell("Disk", window.Space.cell(r.name)),
        cell("Created", new Date(r.created * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })),
        el(
          "td",
          {},
          el(
            "div",
            { class: "st-actions" },
            button("Rename", () => this.rename(r)),
            button("Delete", () => this.remove(r)),
          ),
        ),
      );
    }
    pipeline(r) {
      if (!r.pipeline) return "";
      const link = el("a", { href: `/pipeline?id=${encodeURIComponent(r.pipeline)}` }, r.pipeline);
      return el("small", { class: "of-pipeline" }, "in pipeline ", link);
    }
    async rename(r) {
      const to = await ask(
        `Rename ${r.name}`,
        "Letters, digits, dots, dashes and underscores; it begins with a letter or a digit.",
        "Rename",
        r.name,
      );
      if (to && to !== r.name) this.act(r, "rename", { to });
    }
    async remove(r) {
      if (
        await ask(
          `Delete ${r.name}?`,
          "Its model, checkpoints, curves and log are deleted for good. Your data files are not touched.",
          "Delete",
        )
      )
        this.act(r, "delete");
    }
    async act(r, what, body) {
      try {
        await post(`/studio/runs/${encodeURIComponent(r.name)}/${what}`, body);
        this.trouble.replaceChildren();
      } catch (error) {
        this.trouble.replaceChildren(note(error));
      }
      clearTimeout(this.timer);
      this.tick();
    }
  }
  window.Runs = { mount: (element) => new Runs(element) };
})();
