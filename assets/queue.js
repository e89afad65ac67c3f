/* The queue on the list of runs: what is at work, what waits in which order, moving, taking out, pausing. */
(() => {
  const { el, post, note } = window.Page;
  const runs = (n) => `${n.toLocaleString("en")} run${n === 1 ? "" : "s"}`;
  class Queue {
    /** `changed` is called when something was done, so that everything is asked anew. */
    constructor(element, changed) {
      this.element = element;
      this.changed = changed;
      this.trouble = el("div");
      this.words = el("p", { class: "st-soft queue-words" });
      this.said = el("p", { class: "queue-said", role: "status" });
      this.switch = el("button", { type: "button", class: "st-button", onclick: () => this.turn() });
      this.list = el("ol", { class: "queue-list", "aria-label": "Runs that wait, the next one first" });
      this.box = el(
        "section",
        { class: "queue", "aria-label": "Queue" },
        el("div", { class: "queue-head" }, el("h2", {}, "Queue"), this.words, this.switch),
        this.trouble,
        this.list,
        this.said,
      );
    }
    show(queue, anyRuns) {
      const wanted = anyRuns || queue.paused || queue.waiting.length + queue.others_waiting > 0;
      if (!wanted) return this.element.replaceChildren();
      if (!this.box.isConnected) this.element.replaceChildren(this.box);
      const key = JSON.stringify(queue);
      if (key === this.key) return;
      this.key = key;
      this.paused = queue.paused;
      this.box.toggleAttribute("data-paused", queue.paused);
      const waits = queue.waiting.length + queue.more + queue.others_waiting,
        busy = queue.working.length + queue.others_working,
        at = busy ? `${runs(busy)} at work` : "Nothing is at work",
        line = waits ? `${waits.toLocaleString("en")} wait${waits === 1 ? "s" : ""}` : "nothing waits";
      this.words.textContent = queue.paused
        ? `Paused: nothing new is started${busy ? "; what is at work goes on" : ""}. ${at}, ${line}.`
        : `${at}, ${line}.`;
      this.switch.textContent = queue.paused ? "Continue queue" : "Pause queue";
      this.switch.classList.toggle("main", queue.paused);
      this.draw(queue);
    }
    /** The keyboard stays on the button that was pressed, also when its run has another place now. */
    draw(queue) {
      const held = this.list.contains(document.activeElement) ? document.activeElement.dataset : null;
      const lines = queue.waiting.map((run, place) => this.line(run, place, waitsLast(queue, place)));
      if (queue.more) lines.push(el("li", { class: "st-soft queue-more" }, `and ${queue.more.toLocaleString("en")} more`));
      this.list.replaceChildren(...lines);
      this.list.hidden = !lines.length;
      if (!held) return;
      const mine = [...this.list.querySelectorAll("button:not([disabled])")].filter((one) => one.dataset.of === held.of);
      (mine.find((one) => one.dataset.does === held.does) ?? mine[0] ?? this.switch).focus();
    }
    line(run, place, last) {
      const button = (does, sign, label, disabled, onclick) =>
        el(
          "button",
          { type: "button", class: "st-button small", "data-of": run.name, "data-does": does, "aria-label": label, title: label, disabled, onclick },
          sign,
        );
      return el(
        "li",
        { "data-waits": run.name },
        el(
          "div",
          { class: "queue-run" },
          el("a", { href: `/run?id=${encodeURIComponent(run.name)}` }, run.name),
          el("span", { class: "st-soft" }, `${run.trainer} · ${run.model} · `, el("bdi", {}, run.data.split("/").at(-1))),
        ),
        el(
          "div",
          { class: "st-actions" },
          button("up", "↑", `Move ${run.name} up`, place === 0, () => this.move(run, "up", place)),
          button("down", "↓", `Move ${run.name} down`, last, () => this.move(run, "down", place + 2)),
          button("cancel", "Cancel", `Cancel ${run.name}`, false, () =>
            this.ask(`/studio/runs/${encodeURIComponent(run.name)}/cancel`, { created: run.created }, `${run.name} was taken out of the queue.`),
          ),
        ),
      );
    }
    move(run, to, place) {
      const address = `/studio/runs/${encodeURIComponent(run.name)}/move`;
      return this.ask(address, { to, created: run.created }, `${run.name} is number ${place} now.`);
    }
    turn() {
      return this.paused
        ? this.ask("/studio/queue/continue", {}, "The queue goes on.")
        : this.ask("/studio/queue/pause", {}, "The queue is paused.");
    }
    async ask(address, body, done) {
      try {
        await post(address, body);
        this.trouble.replaceChildren();
        this.said.textContent = done;
      } catch (error) {
        this.trouble.replaceChildren(note(error));
      }
      this.changed();
    }
  }
  const waitsLast = (queue, place) => !queue.more && place === queue.waiting.length - 1;
  window.Queue = Queue;
})();
