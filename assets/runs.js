/* The list of runs, a part of it at a time: state, what was trained on what, best loss, duration; rename and delete ask first. */
(() => {
  const { el, number, duration, get, post, pill, note, ask } = window.Page;
  const WORKING = ["queued", "preparing", "training", "evaluating", "saving"];
  const measureWords = (name) => name.replace(/^eval_/, "held-out ").replaceAll("_", " ");
  const PAGE = 50;
  class Runs {
    constructor(element, queue) {
      this.element = element;
      this.queue = new window.Queue(queue, () => this.soon());
      this.from = 0;
      this.trouble = el("div");
      this.away = el("div");
      this.list = el("div");
      this.turn = 0;
      this.find = el("input", {
        type: "search",
        placeholder: "Find: name, state, trainer, model or data",
        "aria-label": "Find runs by name, state, trainer, model or data",
        hidden: true,
        oninput: () => this.turnTo(0, 200),
      });
      this.pager = el("nav", { class: "pager st-actions", "aria-label": "Parts of the list", hidden: true });
      element.replaceChildren(this.trouble, this.away, el("div", { class: "runs-find" }, this.find), this.list, this.pager);
      this.tick();
    }
    async tick() {
      if (!this.element.isConnected) return;
      const turn = ++this.turn;
      let wait = 5000;
      if (!document.hidden) {
        try {
          const words = this.find.value.trim();
          const { runs, total, queue } = await get(
            `/studio/overview?from=${this.from}&count=${PAGE}&find=${encodeURIComponent(words)}`,
          );
          if (turn !== this.turn) return; // asked again meanwhile, after something was done
          if (this.from && this.from >= total) {
            this.from = 0; // what was shown has been deleted
            return this.tick();
          }
          this.show(runs, words);
          this.parts(total, words);
          this.queue.show(queue, total > 0 || words !== "");
          this.away.replaceChildren();
          if (queue.working.length || queue.waiting.length) wait = 2000;
        } catch (error) {
          if (turn !== this.turn) return;
          this.away.replaceChildren(
            note(error.status ? error : new Error("The studio does not answer; this list may be old. Asking again…")),
          );
        }
      }
      this.timer = setTimeout(() => this.tick(), wait);
    }
    soon(wait = 0) {
      clearTimeout(this.timer);
      this.turn++; // an answer that is on its way is of before
      this.timer = setTimeout(() => this.tick(), wait);
    }
    turnTo(from, wait = 0) {
      this.from = from;
      this.soon(wait);
    }
    /** Which part of the list this is, and the way to the others. */
    parts(total, words) {
      this.find.hidden = total <= PAGE && !words && document.activeElement !== this.find;
      this.pager.hidden = total <= PAGE;
      const key = [this.from, total].join();
      if (key === this.pagerKey) return;
      this.pagerKey = key;
      const held = this.pager.contains(document.activeElement) ? document.activeElement.textContent : null;
      const button = (words, from, disabled) =>
        el("button", { type: "button", class: "st-button small", disabled, onclick: () => this.turnTo(from) }, words);
      const n = (value) => value.toLocaleString("en");
      this.pager.replaceChildren(
        button("Newer", Math.max(0, this.from - PAGE), this.from === 0),
        button("Older", this.from + PAGE, this.from + PAGE >= total),
        el("span", { class: "st-soft", role: "status" }, `${n(this.from + 1)} to ${n(Math.min(this.from + PAGE, total))} of ${n(total)}`),
      );
      const buttons = [...this.pager.querySelectorAll("button:not([disabled])")];
      if (held) (buttons.find((one) => one.textContent === held) ?? buttons[0])?.focus();
    }
    show(runs, words) {
      if (!runs.length && words) {
        this.rows = null;
        this.list.replaceChildren(el("div", { class: "empty" }, el("p", {}, "No run has these words.")));
        return;
      }
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
        el("th", { scope: "row" }, el("a", { href: `/run?id=${encodeURIComponent(r.name)}` }, r.name), this.pipeline(r), this.sweep(r)),
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
    sweep(r) {
      if (!r.sweep) return "";
      const link = el("a", { href: `/sweep?id=${encodeURIComponent(r.sweep)}` }, r.sweep);
      return el("small", { class: "of-pipeline" }, "in sweep ", link);
    }
    async rename(r) {
      const address = `/studio/runs/${encodeURIComponent(r.name)}/rename`;
      await ask(
        `Rename ${r.name}`,
        "Letters, digits, dots, dashes and underscores; it begins with a letter or a digit.",
        "Rename",
        r.name,
        async (to) => to && to !== r.name && (await post(address, { to, created: r.created })),
      );
      this.soon();
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
        await post(`/studio/runs/${encodeURIComponent(r.name)}/${what}`, { ...body, created: r.created });
        this.trouble.replaceChildren();
      } catch (error) {
        this.trouble.replaceChildren(note(error));
      }
      this.soon();
    }
  }
  window.Runs = { mount: (element, queue) => new Runs(element, queue) };
})();
