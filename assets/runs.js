/* The list of runs: state, what was trained on what, best loss, duration; rename and delete ask first. */
(() => {
  const { el, number, duration, get, post, pill, note, ask } = window.Page;
  const WORKING = ["queued", "preparing", "training", "evaluating", "saving"];
  class Runs {
    constructor(element) { this.element = element; this.trouble = el("div"); this.list = el("div"); element.replaceChildren(this.trouble, this.list); this.tick(); }
    async tick() {
      if (!this.element.isConnected) return;
      let wait = 5000;
      if (!document.hidden) {
        try { const runs = await get("/studio/runs"); this.show(runs); if (runs.some((r) => WORKING.includes(r.state))) wait = 2000; }
        catch (error) { console.warn("asking again:", error.message); }
      }
      this.timer = setTimeout(() => this.tick(), wait);
    }
    show(runs) {
      const key = JSON.stringify(runs);
      if (key === this.shown) return;
      this.shown = key;
      if (!runs.length) { this.list.replaceChildren(el("div", { class: "empty" }, el("p", {}, el("strong", {}, "No runs yet.")), el("p", {}, el("a", { class: "st-button main", href: "/" }, "Start one")))); return; }
      const head = ["Run", "State", "Trainer", "Model", "Data", "Best loss", "Duration", "Begun", ""];
      this.list.replaceChildren(el("div", { class: "st-scroll" }, el("table", { class: "st-table runs-table" }, el("thead", {}, el("tr", {}, head.map((h) => el("th", { scope: "col" }, h)))), el("tbody", {}, runs.map((r) => this.row(r))))));
    }
    row(r) {
      const best = r.best_value ?? r.metrics.eval_loss ?? r.metrics.loss, busy = WORKING.includes(r.state);
      const steps = busy && r.total_steps ? ` ${Math.floor((100 * r.step) / r.total_steps)} %` : "";
      const button = (words, does) => el("button", { type: "button", class: "st-button small", disabled: busy, title: busy ? "Stop it first" : false, "aria-label": `${words} ${r.name}`, onclick: does }, words);
      return el("tr", { "data-run": r.name }, el("th", { scope: "row" }, el("a", { href: `/run?id=${encodeURIComponent(r.name)}` }, r.name)), el("td", { title: r.reason || false }, pill(r.state), steps), el("td", {}, r.trainer), el("td", {}, r.model), el("td", { dir: "auto" }, r.data.split("/").at(-1)), el("td", {}, number(best)), el("td", {}, duration(r.seconds)), el("td", {}, new Date(r.created * 1000).toLocaleString()), el("td", { class: "st-actions" }, button("Rename", () => this.rename(r)), button("Delete", () => this.remove(r))));
    }
    async rename(r) { const to = await ask(`Rename ${r.name}`, "Letters, digits, dots and dashes.", "Rename", r.name); if (to && to !== r.name) this.act(r, "rename", { to }); }
    async remove(r) { if (await ask(`Delete ${r.name}?`, "Its model, checkpoints, curves and log are deleted for good. Your data files are not touched.", "Delete")) this.act(r, "delete"); }
    async act(r, what, body) {
      try { await post(`/studio/runs/${encodeURIComponent(r.name)}/${what}`, body); this.trouble.replaceChildren(); }
      catch (error) { this.trouble.replaceChildren(note(error)); }
      clearTimeout(this.timer); this.tick();
    }
  }
  window.Runs = { mount: (element) => new Runs(element) };
})();
