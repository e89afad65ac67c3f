/* One run, live: asks for what is new by byte offsets, so reload, second viewer and server restart lose nothing. */
(() => {
  const { el, number, duration, bytes, transfer, linked, get, post, note, ask } = window.Page;
  const WORDS = {
    queued: "Waiting for its turn",
    preparing: "Getting ready",
    training: "Training",
    evaluating: "Measuring on held-out rows",
    saving: "Saving the model",
    done: "Done",
    failed: "Failed",
    stopped: "Stopped",
    interrupted: "Interrupted",
  };
  /** Answers that were the same several times in a row, once each. */
  const stretches = (given) => {
    const made = [];
    for (const { step, answer } of given) {
      const before = made.at(-1);
      if (before?.answer === answer) before.last = step;
      else made.push({ first: step, last: step, answer });
    }
    return made;
  };
  const at = (step) => (step ? `step ${step}` : "before");
  const span = (first, last) => (first === last ? at(first) : `${at(first)} to ${first ? last : at(last)}`);

  class Monitor {
    constructor(element, name) {
      this.element = element;
      this.name = name;
      this.events = 0;
      this.log = 0;
      this.failures = 0;
      this.samples = [];
      this.pace = {};
      this.address = `/studio/runs/${encodeURIComponent(name)}`;
      this.build();
      this.begin();
      document.addEventListener("visibilitychange", () => {
        if (!document.hidden && this.ready) this.soon();
      });
      new MutationObserver(() => this.board.repaint()).observe(document.body, { attributes: true, attributeFilter: ["class"] });
    }
    build() {
      this.parts = {
        title: el("h1", {}, this.name),
        pill: el("span", { class: "st-pill", role: "status", "aria-live": "polite" }, "connecting"),
        chain: el("div", { class: "run-chain" }),
        facts: el("p", { class: "st-soft run-facts" }),
        rented: el("p", { class: "st-soft run-rented", hidden: true }),
        say: el("p", { class: "run-say", role: "status" }),
        trouble: el("div", {}),
        findings: el("div", { class: "findings", role: "status" }),
        refused: el("div", {}),
        upload: el("div", { class: "upload", role: "status" }),
        bar: el("i"),
        progress: el("div", {
          class: "bar",
          role: "progressbar",
          "aria-label": "Training progress",
          "aria-valuemin": "0",
          "aria-valuemax": "100",
        }),
        kpis: el("dl", { class: "kpis" }),
        resumed: el("p", { class: "st-soft run-resumed", hidden: true }),
        charts: el("div", { class: "charts" }),
        machine: el("div", { class: "charts" }),
        asked: el("h2", {}, "The same questions, answered as it learns"),
        samples: el("div", { class: "answers" }),
        log: el("pre", { class: "log", role: "region", tabindex: "0", "aria-label": "Training log" }),
        actions: el("div", { class: "st-actions" }),
        warnings: el("div", { class: "warnings" }),
        command: el("div", {}),
        space: el("p", { class: "room-line" }),
      };
      const p = this.parts;
      p.progress.append(p.bar);
      const smooth = el("input", {
        type: "range",
        min: "0",
        max: "0.98",
        step: "0.02",
        value: "0",
        "aria-label": "Smoothing",
        oninput: (e) => {
          this.board.share = +e.target.value;
          this.board.draw();
        },
      });
      const log = el("input", { type: "checkbox", onchange: (e) => this.board.rescale(e.target.checked) });
      this.element.replaceChildren(
        p.chain,
        el("div", { class: "run-head" }, el("div", {}, p.title, p.pill), p.actions),
        p.facts,
        p.rented,
        p.say,
        p.refused,
        p.upload,
        p.trouble,
        p.findings,
        p.progress,
        p.kpis,
        p.warnings,
        el(
          "div",
          { class: "chart-tools" },
          el("label", {}, "Smoothing ", smooth),
          el("label", {}, log, " Logarithmic"),
          el("button", { type: "button", class: "st-button small", onclick: () => this.board.unzoom() }, "Whole run"),
          el("span", { class: "st-soft" }, "Drag across a chart to zoom in."),
        ),
        p.resumed,
        p.charts,
        el("section", { class: "answers-box", hidden: true }, p.asked, p.samples),
        el("details", { class: "log-box machine", hidden: true }, el("summary", {}, "Step size, speed and memory"), p.machine),
        el("details", { class: "log-box", open: true }, el("summary", {}, "Log"), p.log),
        p.command,
        p.space,
      );
      this.board = new window.Charts.Board(p.charts, p.machine, `run-${this.name}`);
    }
    async begin() {
      try {
        this.about(await get(`${this.address}/about`));
      } catch (error) {
        if (error.status === 404) return this.missing(error);
        if (error.status) this.parts.refused.replaceChildren(note(error));
        setTimeout(() => this.begin(), 1500);
        return;
      }
      this.ready = true;
      this.parts.refused.replaceChildren();
      this.tick();
    }
    /** The run is no more, or never was: nothing that follows a run at work stays; curves and log may still be read. */
    missing(error) {
      this.settle("not found");
      if (!this.ready)
        for (const part of this.element.children) part.hidden = part !== this.parts.trouble && !part.contains(this.parts.title);
      this.parts.trouble.replaceChildren(note(error), el("p", {}, el("a", { class: "st-button", href: "/runs" }, "All runs")));
    }
    /** Nothing more is asked of the run, and nothing can be done to it. */
    settle(word) {
      const p = this.parts;
      this.over = true;
      p.pill.textContent = word;
      p.pill.dataset.state = "gone";
      p.say.textContent = "";
      for (const part of [p.actions, p.kpis, p.rented, p.findings, p.refused, p.upload]) part.replaceChildren();
      p.progress.hidden = true;
      document.title = `${this.name} · AITraining Studio`;
    }
    about(found) {
      this.parts.facts.textContent = `${found.trainer} · ${found.model} · ${found.data}`;
      if (found.pipeline) window.Chain.strip(this.parts.chain, found.pipeline, this.name);
      if (found.sweep)
        this.parts.chain.replaceChildren(
          el("p", { class: "st-soft" }, "One of several: ", el("a", { href: `/sweep?id=${encodeURIComponent(found.sweep)}` }, found.sweep)),
        );
      this.board.judgedBy = found.judged_by;
      this.headline = found.headline;
      this.plain = found.exports_plain;
      this.scores = found.makes === "score";
      if (this.scores) this.parts.asked.textContent = "The same answers, scored as it learns";
      this.board.about(found.charts);
      this.parts.command.replaceChildren(
        el(
          "details",
          { class: "log-box" },
          el("summary", {}, "Settings and command"),
          el("pre", { class: "log" }, found.command),
          el("pre", { class: "log" }, found.yaml),
        ),
      );
    }
    take(news) {
      if (this.created != null && this.created !== news.status.created) return this.replaced();
      this.created = news.status.created;
      this.events = news.events;
      this.log = news.log;
      if (news.reset) {
        this.samples = [];
        this.parts.warnings.replaceChildren();
        this.pace = {};
        this.board.best = null;
        this.board.resumed = [];
      }
      if (news.resumed.length) this.resumed(news.resumed);
      this.pace.first ??= news.first;
      this.pace.last = news.last ?? this.pace.last;
      const marked = this.board.best?.step,
        [step, value] = news.status.saved ?? [];
      this.board.best = step != null ? { step, value } : (news.best.at(-1) ?? this.board.best);
      if (news.reset || Object.keys(news.curves).length) this.board.add(news.curves, news.reset);
      else if (this.board.best?.step !== marked) this.board.repaint();
      if (news.samples.length) {
        this.samples.push(...news.samples);
        this.answers();
      }
      for (const w of news.warnings)
        this.parts.warnings.append(el("p", { class: "st-note warning" }, w.message, w.hint ? ` ${w.hint}` : ""));
      if (news.reset) this.parts.log.textContent = "";
      if (news.text) this.write(news.text);
      this.status(news.status);
    }
    /** The run went on from these steps: one curve, with a mark where each part begins. */
    resumed(steps) {
      this.board.resumed.push(...steps.filter((step) => step && !this.board.resumed.includes(step)));
      const marks = this.board.resumed;
      this.parts.resumed.hidden = !marks.length;
      this.parts.resumed.textContent = `Resumed at step ${marks.map((step) => step.toLocaleString("en")).join(", ")}: the dotted line.`;
      this.board.repaint();
    }
    write(text) {
      const box = this.parts.log,
        follow = box.scrollTop + box.clientHeight > box.scrollHeight - 30 || !box.textContent;
      box.append(text);
      if (box.textContent.length > 300000) box.textContent = box.textContent.slice(-200000);
      if (follow) box.scrollTop = box.scrollHeight;
    }
    status(s) {
      const p = this.parts;
      this.state = s;
      // another tab was quicker: what was refused here has been done
      if (this.resumedElsewhere && s.state !== this.resumedElsewhere) {
        this.parts.refused.replaceChildren();
        this.resumedElsewhere = null;
      }
      this.ended = s.ended_state;
      if (p.pill.textContent !== s.state) {
        p.pill.textContent = s.state;
        p.pill.dataset.state = s.state;
      }
      document.title = `${s.state === "training" && s.total_steps ? `${Math.floor((100 * s.step) / s.total_steps)} % ` : ""}${this.name} · AITraining Studio`;
      const waiting = s.waiting_behind ? ` behind ${s.waiting_behind} other${s.waiting_behind === 1 ? "" : "s"}` : "";
      const held = s.paused ? `Waiting${waiting}. The queue is paused: nothing is started until somebody continues it on the page Runs` : "";
      const words = s.discarded
        ? "Ending, and then it is deleted, as you asked"
        : held
        ? held
        : s.stop_asked
        ? s.job ? "Ending the rented machine, as you asked" : "Finishing the step and saving, as you asked"
        : s.phase || WORDS[s.state] + (s.state === "queued" ? waiting : "");
      const moved = !this.ended && s.transfer ? `: ${transfer(s.transfer)}` : "";
      p.say.textContent = this.ended ? s.reason || WORDS[s.state] + "." : held ? `${held}.` : `${words}${moved}…`;
      p.trouble.replaceChildren(
        ...(s.hint && !this.explained ? [el("div", { class: `st-note ${s.state === "failed" ? "error" : "warning"}` }, linked(s.hint))] : []),
      );
      const fetched = !this.ended && s.transfer?.total ? (100 * s.transfer.done) / s.transfer.total : 0;
      const share = s.state === "done" ? 100 : s.total_steps ? Math.min(100, (100 * s.step) / s.total_steps) : fetched;
      p.progress.setAttribute("aria-label", fetched ? "Download" : "Training progress");
      p.bar.style.width = `${share}%`;
      p.progress.setAttribute("aria-valuenow", Math.round(share));
      window.Upload.show(p.upload, s.upload);
      this.sending = s.upload?.state === "sending";
      this.rented(s);
      this.kpis(s);
      this.actions(s);
      this.space(s);
      this.diagnose(s);
    }
    /** What it takes on disk: asked once it has ended, and now and then while it works. */
    space(s) {
      const key = s.ended_state ? [s.state, s.ended].join() : Math.floor(s.now / 30);
      if (key === this.weighed) return;
      this.weighed = key;
      window.Space.strip(this.parts.space, this.name, () => this.soon());
    }
    /** The rented machine that the run is on, and what it costs. */
    rented(s) {
      const box = this.parts.rented, job = s.job;
      box.hidden = !job;
      if (!job) return;
      const dollars = (amount) => (amount === null ? "an unknown price" : `$${amount.toFixed(2)}`);
      const cost = job.so_far === null ? "" : `${dollars(job.so_far)} ${job.ended ? "in all" : "so far"}, at most ${dollars(job.most)}`;
      const words = `At Hugging Face on ${job.title}, ${dollars(job.per_hour)} an hour${cost && `: ${cost}`}. `;
      if (box.dataset.words === words + job.url) return;
      box.dataset.words = words + job.url;
      box.replaceChildren(words, ...(job.url ? [el("a", { href: job.url, rel: "noreferrer", target: "_blank" }, "The job there")] : []));
    }
    /** Asks what is wrong once a run has ended, and now and then while it trains. */
    async diagnose(s) {
      if (!s.ended_state && s.state !== "training") return this.found([]);
      const key = s.ended_state ? [s.state, s.ended, s.reason].join() : `training ${Math.floor(s.now / 10)}`;
      if (key === this.diagnosed || this.diagnosing) return;
      this.diagnosing = true;
      try {
        const found = await get(`${this.address}/findings`);
        this.diagnosed = key;
        this.found(found, s);
      } catch (error) {
        console.warn("what is wrong could not be asked:", error.message); // asked again with the next status
      } finally {
        this.diagnosing = false;
      }
    }
    found(findings, s) {
      const shown = JSON.stringify(findings);
      if (shown === this.shown) return;
      this.shown = shown;
      // what the card says need not be said twice
      this.explained = findings.some((f) => f.confidence === "certain" || s.state === "interrupted");
      if (this.explained) this.parts.trouble.replaceChildren();
      this.parts.findings.replaceChildren(...findings.map((f) => this.card(f)));
    }
    card(f) {
      const again = `/new?from=${encodeURIComponent(this.name)}&finding=${encodeURIComponent(f.kind)}`;
      const act =
        f.action === "resume"
          ? el("button", { type: "button", class: "st-button main", onclick: () => this.act("resume") }, "Resume")
          : el("a", { class: "st-button main", href: again }, f.change.length ? "Retry with this change" : "Retry");
      return el(
        "section",
        { class: "finding", "data-kind": f.kind },
        el("h2", {}, f.what),
        el("p", {}, f.why),
        el("p", {}, linked(f.advice)),
        el(
          "div",
          { class: "st-actions" },
          act,
          f.change.map((one) => el("code", {}, one.words)),
        ),
      );
    }
    /** What was measured of the weights that are saved, as the list of runs says it; a start that was better is said as that. */
    best({ saved, best_step, best_value }) {
      if (!saved) return "–";
      const [step, value] = saved,
        before = best_step === 0 ? `; before ${number(best_value)}` : "";
      return `${number(value)}${step == null ? "" : ` at ${step}`}${before}`;
    }
    kpis(s) {
      const { first, last } = this.pace,
        each = first && last && last[1] > first[1] ? (last[0] - first[0]) / (last[1] - first[1]) : null;
      const left = each > 0 && !this.ended ? Math.max(0, (s.total_steps - last[1]) * each - Math.max(0, s.now - last[2])) : null;
      const word = this.headline.replaceAll("_", " "),
        title = word[0].toUpperCase() + word.slice(1);
      const rows = [
        ["Step", s.total_steps ? `${s.step.toLocaleString("en")} of ${s.total_steps.toLocaleString("en")}` : "–"],
        [title, number(this.board.last(this.headline))],
        [`Held-out ${word}`, number(this.board.last(this.board.judgedBy))],
        ["Best", this.best(s)],
        ["Tokens/s", number(this.board.last("tokens_per_second"))],
        ["Memory", bytes(this.board.last("memory_bytes"))],
        ["Time", duration(s.worked)],
        ["Left", this.ended ? "–" : duration(left)],
      ];
      if (this.parts.kpis.children.length !== rows.length)
        this.parts.kpis.replaceChildren(...rows.map(([what]) => el("div", {}, el("dt", {}, what), el("dd", {}, "–"))));
      rows.forEach(([, value], i) => {
        const dd = this.parts.kpis.children[i].lastChild;
        if (dd.textContent !== value) dd.textContent = value;
      });
    }
    actions(s) {
      const waits = s.waiting_behind != null,
        key = [s.state, waits, s.stop_asked, s.discarded, s.resumable, s.checkpoints_removed, s.has_model, this.sending].join();
      if (key === this.offered) return;
      this.offered = key;
      const button = (words, main, onclick, id) =>
        el("button", { type: "button", class: `st-button${main ? " main" : ""}`, id, onclick }, words);
      const link = (words, main, href, id) => el("a", { class: `st-button${main ? " main" : ""}`, href, id }, words);
      const made = [];
      if (waits) made.push(button("Take out of the queue", false, () => this.act("cancel"), "stop"));
      else if (!s.ended_state)
        made.push(
          s.stop_asked
            ? button("End at once", false, () => this.force(), "force")
            : button("Stop and keep", false, () => this.act("stop"), "stop"),
        );
      if (!s.ended_state && !s.discarded)
        made.push(button(waits ? "Delete" : "Stop and discard", false, () => this.discard(waits), "discard"));
      const cutOff = ["stopped", "interrupted"].includes(s.state) && !s.checkpoints_removed;
      const resumes = s.ended_state && s.state !== "done" && (cutOff || s.resumable);
      if (resumes)
        made.push(button("Resume", true, () => this.act("resume"), "resume"));
      const mine = encodeURIComponent(this.name);
      if (s.has_model && this.scores) made.push(link("Score answers with it", !resumes, `/playground?a=${mine}&b=`, "talk"));
      else if (s.has_model) made.push(link("Talk to it", !resumes, `/playground?a=starter&b=${mine}`, "talk"));
      if (s.ended_state) made.push(link("Run again, changed", false, `/new?from=${mine}`, "again"));
      made.push(button("Export", false, () => this.export(), "export"));
      if (s.ended_state && s.has_model) made.push(button("Download the model", false, () => this.download(), "download"));
      if (s.ended_state && s.has_model && !this.sending)
        made.push(button("Upload to the Hub", false, () => this.upload(s.has_adapter), "upload"));
      this.parts.actions.replaceChildren(...made);
    }
    async export() {
      try {
        await window.Export.offer(this.name, this.address, this.plain);
        this.parts.refused.replaceChildren();
      } catch (error) {
        this.parts.refused.replaceChildren(note(error));
      }
    }
    async download() {
      try {
        await window.Export.model(this.name);
        this.parts.refused.replaceChildren();
      } catch (error) {
        this.parts.refused.replaceChildren(note(error));
      }
    }
    async upload(adapter) {
      if (await window.Upload.ask(this.name, this.address, adapter)) this.soon();
    }
    async force() {
      if (
        await ask(
          "End the run at once?",
          "The step is not finished and nothing more is saved. It can be resumed from its last checkpoint.",
          "End at once",
        )
      )
        this.act("stop", { force: true });
    }
    async discard(waits) {
      const what = waits ? `Delete ${this.name}?` : `End ${this.name} and delete it?`,
        words = waits
          ? "It is taken out of the queue and deleted. Your data files are not touched."
          : "It is ended at once. Its checkpoints, curves and log are deleted for good. Your data files are not touched.";
      if ((await ask(what, words, waits ? "Delete" : "End and delete")) && (await this.act("discard"))) location.assign("/runs");
    }
    /** Ask the server for something; with when the run was made, so that it is done to no later run of the same name. */
    async act(what, body) {
      let said = null;
      try {
        said = await post(`${this.address}/${what}`, { ...body, created: this.created });
        this.parts.refused.replaceChildren();
      } catch (error) {
        this.parts.refused.replaceChildren(note(error));
        this.resumedElsewhere = what === "resume" ? this.state.state : null;
      }
      this.soon();
      return said;
    }
    /** The run was deleted or renamed, and another one has its name: what is shown here is of the past. */
    replaced() {
      this.settle("gone");
      const words = "The run that this page shows was deleted or renamed, and another run has its name now.";
      const show = el("button", { type: "button", class: "st-button", onclick: () => location.reload() }, "Show that run");
      this.parts.trouble.replaceChildren(note(new Error(words)), el("p", {}, show));
    }
    answers() {
      const prompts = new Map(),
        before = [...this.parts.samples.querySelectorAll("ol")].map((list) =>
          list.scrollTop + list.clientHeight < list.scrollHeight - 4 ? list.scrollTop : null,
        );
      for (const s of this.samples) (prompts.get(s.prompt) ?? prompts.set(s.prompt, []).get(s.prompt)).push(s);
      this.parts.samples.replaceChildren(
        ...[...prompts].map(([prompt, given]) =>
          el(
            "article",
            { class: "answer" },
            el("h3", { dir: "auto" }, prompt),
            el(
              "ol",
              { tabindex: "0", "aria-label": "Answers, the oldest first" },
              stretches(given).map(({ first, last, answer }) =>
                el(
                  "li",
                  {},
                  el("span", { class: "at" }, span(first, last)),
                  el("span", { dir: "auto" }, answer || "(nothing)"),
                ),
              ),
            ),
          ),
        ),
      );
      this.parts.samples.parentElement.hidden = false;
      // the newest answers, unless somebody reads older ones
      this.parts.samples.querySelectorAll("ol").forEach((list, n) => {
        list.scrollTop = before[n] ?? list.scrollHeight;
      });
    }
    soon() {
      clearTimeout(this.timer);
      this.tick();
    }
    async tick() {
      if (!this.element.isConnected) return;
      if (this.asking || this.over) return;
      this.asking = true;
      let wait = this.ended ? 10000 : 1000;
      try {
        if (!document.hidden) {
          const news = await get(`${this.address}/live?events=${this.events}&log=${this.log}`);
          this.take(news);
          if (this.failures) this.parts.refused.replaceChildren();
          this.failures = 0;
          wait = news.more ? 0 : this.ended && !this.sending ? 10000 : 1000;
        }
      } catch (error) {
        if (error.status === 404) return this.missing(error);
        console.warn("asking again:", error.message);
        this.failures++;
        if (error.status) this.parts.refused.replaceChildren(note(error));
        this.parts.pill.textContent = "reconnecting";
        this.parts.pill.dataset.state = "interrupted";
        this.offered = null;
        wait = Math.min(10000, 500 * 2 ** this.failures);
      } finally {
        this.asking = false;
      }
      this.timer = setTimeout(() => this.tick(), wait);
    }
  }
  window.Monitor = {
    mount(element) {
      const name = new URLSearchParams(location.search).get("id");
      if (!name) {
        location.replace("/runs");
        return;
      }
      element.monitor = new Monitor(element, name);
    },
  };
})();
