/* One sweep, live: its runs best first, a picture of what was tried and what came of it; and the list of all sweeps. */
(() => {
  const { el, get, post, pill, note, ask, number, duration, Lines } = window.Page;
  const IDLE_MS = 10000,
    WORKING_MS = 1500;
  const address = (name) => `/studio/sweeps/${encodeURIComponent(name)}`;
  const runPage = (run) => `/run?id=${encodeURIComponent(run)}`;
  const chosen = (found, one) =>
    found.axes
      .filter((axis) => one.words[axis.name] != null)
      .map((axis) => `${axis.label} ${one.words[axis.name]}`)
      .join(", ");

  class SweepPage {
    constructor(element, name) {
      this.element = element;
      this.name = name;
      this.build();
      document.addEventListener("visibilitychange", () => !document.hidden && this.tick());
      this.tick();
    }
    build() {
      this.parts = {
        pill: el("span", { class: "st-pill", role: "status", "aria-live": "polite" }, "connecting"),
        actions: el("div", { class: "st-actions" }),
        facts: el("p", { class: "run-facts st-soft" }),
        say: el("p", { class: "run-say", role: "status" }),
        refused: el("div"),
        hint: el("div"),
        caution: el("div"),
        picture: el("div"),
        table: el("div"),
        command: el("pre", { class: "log" }),
        yaml: el("pre", { class: "log" }),
      };
      const p = this.parts;
      this.element.replaceChildren(
        el("p", { class: "st-soft" }, "Several values of one training"),
        el("div", { class: "run-head" }, el("div", {}, el("h1", {}, this.name), p.pill), p.actions),
        p.facts,
        p.say,
        p.refused,
        p.hint,
        p.caution,
        p.picture,
        p.table,
        el("details", { class: "log-box" }, el("summary", {}, "Settings and command"), p.command, p.yaml),
      );
      this.picture = new window.SweepPicture(p.picture);
    }
    async tick() {
      clearTimeout(this.timer);
      if (!this.element.isConnected || this.asking) return;
      let wait = IDLE_MS;
      this.asking = true;
      try {
        if (!document.hidden) {
          const found = await get(address(this.name));
          this.failures = 0;
          if (found.driven || found.at_work) wait = WORKING_MS;
          this.take(found);
        }
      } catch (error) {
        if (this.away(error)) return;
        this.failures = (this.failures ?? 0) + 1;
        wait = Math.min(IDLE_MS, 500 * 2 ** this.failures);
      } finally {
        this.asking = false;
      }
      this.timer = setTimeout(() => this.tick(), wait);
    }
    away(error) {
      const p = this.parts;
      this.offered = null;
      if (error.status === 404) {
        p.pill.textContent = "not found";
        p.refused.replaceChildren(note(error), el("p", {}, el("a", { class: "st-button", href: "/runs" }, "All runs")));
        return true;
      }
      p.pill.textContent = error.status ? "damaged" : "reconnecting";
      p.pill.dataset.state = "interrupted";
      if (error.status) p.refused.replaceChildren(note(error));
      return false;
    }
    take(found) {
      const p = this.parts,
        words = (part, text) => part.textContent !== text && (part.textContent = text);
      words(p.pill, found.state);
      p.pill.dataset.state = found.state;
      const ended = found.tries.filter((t) => !this.working(t)).length;
      document.title = `${found.at_work ? `${ended}/${found.wanted} ` : ""}${this.name} · AITraining Studio`;
      words(p.facts, `${found.title} · ${found.base} · judged by ${found.measure}`);
      words(p.say, found.said);
      this.noted(p.hint, found.hint, found.state === "failed" ? "error" : "warning");
      this.noted(p.caution, found.caution, "warning");
      words(p.command, found.command);
      words(p.yaml, found.yaml);
      this.actions(found);
      this.table(found);
      this.picture.show(found);
    }
    noted(part, text, kind) {
      if (part.textContent !== text) part.replaceChildren(text ? el("div", { class: `st-note ${kind}` }, text) : "");
    }
    working(one) {
      return ["queued", "preparing", "training", "evaluating", "saving"].includes(one.state);
    }
    actions(found) {
      const open = found.tries.length < found.wanted || found.tries.some((t) => ["stopped", "interrupted"].includes(t.state)),
        key = JSON.stringify([found.driven, found.at_work, found.stop_asked, found.best, open]);
      if (key === this.offered) return;
      this.offered = key;
      const button = (words, main, id, onclick) =>
        el("button", { type: "button", class: `st-button${main ? " main" : ""}`, id, onclick }, words);
      const made = [];
      if (found.at_work)
        made.push(
          found.stop_asked
            ? button("End at once", false, "force", () => this.force())
            : button("Stop", false, "stop", () => this.act("stop")),
        );
      if (found.best) {
        const from = encodeURIComponent(found.best);
        made.push(el("a", { class: "st-button main", id: "use-best", href: `/new?from=${from}` }, "Use the best settings"));
      }
      if (!found.driven && (open || found.at_work)) made.push(button("Go on", !found.best, "resume", () => this.act("resume")));
      if (!found.driven && !found.at_work) made.push(button("Take off the list", false, "forget", () => this.forget()));
      this.parts.actions.replaceChildren(...made);
    }
    table(found) {
      const key = JSON.stringify([found.tries, found.axes]);
      if (key === this.shown || this.parts.table.contains(document.activeElement)) {
        if (key !== this.shown) this.update(found);
        return;
      }
      this.shown = key;
      const head = ["", "Run", "State", ...found.axes.map((a) => a.label), this.measured(found), "Duration", ""];
      this.parts.table.replaceChildren(
        el(
          "div",
          { class: "st-scroll" },
          el(
            "table",
            { class: "st-table runs-table sweep-table", "aria-label": "Runs, best first" },
            el("thead", {}, el("tr", {}, head.map((h) => el("th", { scope: "col" }, h)))),
            el("tbody", {}, found.tries.map((one) => this.row(found, one))),
          ),
        ),
      );
    }
    /** States only, while the keyboard is in the table: the rows keep their places until it leaves. */
    update(found) {
      for (const one of found.tries) {
        const cell = this.parts.table.querySelector(`[data-run="${CSS.escape(one.run)}"] .state`);
        if (cell && !cell.contains(document.activeElement)) cell.replaceChildren(...this.state(one));
      }
    }
    state(one) {
      const done = this.working(one) && one.total_steps ? ` ${Math.floor((100 * one.step) / one.total_steps)} %` : "";
      return [pill(one.state), done];
    }
    measured(found) {
      return found.measure.split(",")[0].replace(/^./, (first) => first.toUpperCase());
    }
    row(found, one) {
      const cell = (label, ...content) => el("td", { "data-label": label }, ...content);
      const failed = !this.working(one) && one.rank == null && one.reason;
      return el(
        "tr",
        {
          "data-run": one.run,
          "data-rank": one.rank ?? false,
          onmouseenter: () => this.picture.heat(one.run),
          onmouseleave: () => this.picture.heat(null),
        },
        el("td", { class: "rank" }, one.rank === 1 ? el("strong", { class: "best" }, "best") : one.rank ? String(one.rank) : ""),
        el("th", { scope: "row" }, one.state === "gone" ? one.run : el("a", { href: runPage(one.run) }, one.run)),
        el("td", { class: "state" }, this.state(one), failed ? el("small", { class: "why" }, one.reason) : ""),
        found.axes.map((a) => cell(a.label, one.words[a.name] ?? "–")),
        cell(this.measured(found), one.value == null ? "–" : number(one.value)),
        cell("Duration", duration(one.seconds)),
        el("td", {}, el("div", { class: "st-actions" }, this.links(found, one))),
      );
    }
    links(found, one) {
      const link = (words, what, href) => el("a", { class: "st-button small", href, "aria-label": `${words} ${what}` }, words);
      if (one.state === "gone" || one.state === "damaged") return [];
      const run = encodeURIComponent(one.run),
        best = encodeURIComponent(found.best ?? ""),
        made = [link("Use settings", `of ${one.run}`, `/new?from=${run}`)];
      if (one.state !== "done" && one.state !== "stopped") return made;
      if (found.scores) made.push(link("Score answers", `with ${one.run}`, `/playground?a=${run}&b=`));
      else if (one.run === found.best)
        made.push(link("Compare", `${one.run} with ${found.base}`, `/playground?a=${encodeURIComponent(found.base)}&b=${run}`));
      else if (best) made.push(link("Compare", `${one.run} with the best`, `/playground?a=${best}&b=${run}`));
      return made;
    }
    async force() {
      const words = "The step is not finished and nothing more is saved. It can be resumed from its last checkpoint.";
      if (await ask("End the run at once?", words, "End at once")) this.act("stop", { force: true });
    }
    async forget() {
      const words = "Its runs, with their models and curves, stay in the list of runs. Only the comparison is forgotten.";
      if ((await ask(`Take ${this.name} off the list?`, words, "Take off")) && (await this.act("forget"))) location.assign("/runs");
    }
    async act(what, body) {
      let done = true;
      try {
        await post(`${address(this.name)}/${what}`, body);
        this.parts.refused.replaceChildren();
      } catch (error) {
        done = false;
        this.parts.refused.replaceChildren(note(error));
      }
      this.offered = null;
      this.tick();
      return done;
    }
  }

  /** A sweep as one line. */
  const line = (s) => {
    const best = s.tries.find((t) => t.rank === 1),
      ended = s.tries.filter((t) => t.rank != null || ["failed", "interrupted", "stopped", "gone", "damaged"].includes(t.state));
    return el(
      "li",
      { "data-sweep": s.name },
      el("a", { href: `/sweep?id=${encodeURIComponent(s.name)}` }, s.name),
      pill(s.state),
      el("span", { class: "st-soft" }, `${ended.length} of ${s.wanted} runs`),
      best ? el("span", {}, "best: ", el("a", { href: runPage(best.run) }, best.run), ` ${number(best.value)}`) : "",
    );
  };
  window.SweepPage = {
    mount(element) {
      const name = new URLSearchParams(location.search).get("id");
      if (name) element.page = new SweepPage(element, name);
      else location.replace("/runs");
    },
    list: (element) => new Lines(element, { address: "/studio/sweeps", title: "Sweeps", works: (s) => s.at_work, line }),
    chosen,
  };
})();
