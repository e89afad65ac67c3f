/* One pipeline, live: its chain, what is the case in a sentence, and what can be done now. And the list of all of them. */
(() => {
  const { el, get, post, pill, note, ask, Lines } = window.Page;
  const WORKING = ["queued", "preparing", "training", "evaluating", "saving"];

  class PipelinePage {
    constructor(element, name) {
      this.element = element;
      this.name = name;
      this.build();
      this.soon = window.Chain.follow(element, name, (progress, error) => (error ? this.away(error) : this.take(progress)));
    }
    build() {
      this.parts = {
        pill: el("span", { class: "st-pill", role: "status", "aria-live": "polite" }, "connecting"),
        actions: el("div", { class: "st-actions" }),
        say: el("p", { class: "run-say", role: "status" }),
        refused: el("div"),
        hint: el("div"),
        chain: el("div"),
        tries: el("div"),
        command: el("pre", { class: "log" }),
        yaml: el("pre", { class: "log" }),
      };
      const p = this.parts;
      this.element.replaceChildren(
        el("p", { class: "st-soft" }, "Pipeline"),
        el("div", { class: "run-head" }, el("div", {}, el("h1", {}, this.name), p.pill), p.actions),
        p.say,
        p.refused,
        p.hint,
        p.chain,
        p.tries,
        el("details", { class: "log-box" }, el("summary", {}, "Settings and command"), p.command, p.yaml),
      );
    }
    away(error) {
      const p = this.parts;
      if (error.status === 404) {
        p.pill.textContent = "not found";
        p.refused.replaceChildren(note(error), el("p", {}, el("a", { class: "st-button", href: "/runs" }, "All runs")));
        return;
      }
      p.pill.textContent = error.status ? "damaged" : "reconnecting";
      p.pill.dataset.state = "interrupted";
      this.offered = null;
      if (error.status) p.refused.replaceChildren(note(error));
    }
    take(progress) {
      const p = this.parts;
      if (p.pill.textContent !== progress.state) {
        p.pill.textContent = progress.state;
        p.pill.dataset.state = progress.state;
      }
      const done = progress.stages.filter((s) => s.state === "done").length;
      document.title = `${progress.driven ? `${done}/${progress.stages.length} ` : ""}${this.name} · AITraining Studio`;
      if (p.say.textContent !== progress.said) p.say.textContent = progress.said;
      if (p.hint.textContent !== progress.hint) {
        const kind = progress.state === "failed" ? "error" : "warning";
        p.hint.replaceChildren(progress.hint ? el("div", { class: `st-note ${kind}` }, progress.hint) : "");
      }
      window.Chain.draw(p.chain, progress);
      this.tries(progress);
      if (p.command.textContent !== progress.command) p.command.textContent = progress.command;
      if (p.yaml.textContent !== progress.yaml) p.yaml.textContent = progress.yaml;
      this.actions(progress);
    }
    tries(progress) {
      const earlier = progress.stages.flatMap((s) => s.tries.filter((run) => run !== s.run));
      if (String(earlier) === this.shown) return;
      this.shown = String(earlier);
      this.parts.tries.replaceChildren(
        earlier.length
          ? el(
              "p",
              { class: "st-soft" },
              "Earlier tries: ",
              earlier.flatMap((run, n) => [n ? ", " : "", el("a", { href: `/run?id=${encodeURIComponent(run)}` }, run)]),
            )
          : "",
      );
    }
    actions(progress) {
      const left = progress.stages.find((s) => s.state !== "done"),
        key = JSON.stringify([progress.driven, progress.at_work, progress.stop_asked, left?.stage, left?.state]);
      if (key === this.offered) return;
      this.offered = key;
      const mine = encodeURIComponent(this.name);
      const button = (words, main, id, onclick) =>
        el("button", { type: "button", class: `st-button${main ? " main" : ""}`, id, onclick }, words);
      const link = (words, main, id, href) => el("a", { class: `st-button${main ? " main" : ""}`, id, href }, words);
      const made = [];
      if (progress.driven || progress.at_work)
        made.push(
          progress.stop_asked
            ? button("End at once", false, "force", () => this.force())
            : button("Stop", false, "stop", () => this.act("stop")),
        );
      if (!progress.driven) {
        if (!left) made.push(this.talk(progress.stages.at(-1), progress, link));
        else if (left.state === "gate not met") {
          made.push(link("Change settings and go on", true, "change", `/new-pipeline?resume=${mine}&stage=${left.stage}`));
          made.push(button("Go on without the gate", false, "pass", () => this.act("pass", { stage: left.stage })));
        } else {
          made.push(button(left.state === "failed" ? `Retry ${left.stage}` : "Resume", true, "resume", () => this.act("resume")));
          if (!WORKING.includes(left.state))
            made.push(link("Change settings", false, "change", `/new-pipeline?resume=${mine}&stage=${left.stage}`));
        }
        if (!progress.at_work) {
          if (!left) made.push(link("Again, changed", false, "again", `/new-pipeline?from=${mine}`));
          made.push(button("Take off the list", false, "forget", () => this.forget()));
        }
      }
      this.parts.actions.replaceChildren(...made);
    }
    talk(last, progress, link) {
      const run = encodeURIComponent(last.run);
      return progress.scores
        ? link("Score answers with it", true, "talk", `/playground?a=${run}&b=`)
        : link("Talk to it", true, "talk", `/playground?a=${encodeURIComponent(progress.base)}&b=${run}`);
    }
    async force() {
      const words = "The step is not finished and nothing more is saved. It can be resumed from its last checkpoint.";
      if (await ask("End the stage at once?", words, "End at once")) this.act("stop", { force: true });
    }
    async forget() {
      const words = "Its runs, with their models and curves, stay in the list of runs. Only the chain is forgotten.";
      if ((await ask(`Take ${this.name} off the list?`, words, "Take off")) && (await this.act("forget"))) location.assign("/runs");
    }
    async act(what, body) {
      let done = true;
      try {
        await post(`${window.Chain.address(this.name)}/${what}`, body);
        this.parts.refused.replaceChildren();
      } catch (error) {
        done = false;
        this.parts.refused.replaceChildren(note(error));
      }
      this.offered = null;
      this.soon();
      return done;
    }
  }

  /** A pipeline as one line with its stages. */
  const line = (p) => {
    const stages = p.stages.map((s) => el("li", { "data-state": s.state, title: s.reason || false }, s.stage, ": ", s.state));
    return el(
      "li",
      { "data-pipeline": p.name },
      el("a", { href: `/pipeline?id=${encodeURIComponent(p.name)}` }, p.name),
      pill(p.state),
      el("ol", { class: "pipe" }, stages),
    );
  };
  window.PipelinePage = {
    mount(element) {
      const name = new URLSearchParams(location.search).get("id");
      if (name) element.page = new PipelinePage(element, name);
      else location.replace("/runs");
    },
    list: (element) => new Lines(element, { address: "/studio/pipelines", title: "Pipelines", works: (p) => p.driven, line }),
  };
})();
