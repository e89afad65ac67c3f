/* Room on the disk: what runs take, beside each run, and removing checkpoints of one run or of several. */
(() => {
  const { el, bytes, get, post, note, ask } = window.Page;
  const known = new Map();
  /** What a run takes, for a cell of the list; filled in again whenever it was asked anew. */
  const cell = (name) => el("span", { "data-disk": name }, words(known.get(name)));
  const words = (held) => (held ? bytes(held.total) : "–");
  const GONE = "The model, curves and log stay; the run cannot be resumed afterwards.";
  const ONLY = "It has no finished model: of its training only curves and log stay, and it cannot be resumed.";

  class Room {
    constructor(element) {
      this.element = element;
      this.said = el("span", { class: "st-soft" });
      this.button = el("button", { type: "button", class: "st-button small", hidden: true, onclick: () => this.choose() }, "Free space");
      this.result = el("div", { role: "status" });
      element.replaceChildren(this.said, this.button, this.result);
      this.tick();
    }
    async tick() {
      if (!this.element.isConnected) return;
      if (!document.hidden) await this.look();
      this.timer = setTimeout(() => this.tick(), 30000);
    }
    async look() {
      try {
        this.found = await get("/studio/space");
      } catch (error) {
        if (!error.status) console.warn("asking again:", error.message);
        return; // the list says already that the studio does not answer
      }
      known.clear();
      for (const held of this.found.runs) known.set(held.name, held);
      for (const shown of document.querySelectorAll("[data-disk]")) shown.textContent = words(known.get(shown.dataset.disk));
      const { runs, total, checkpoints, free } = this.found;
      this.said.textContent = runs.length
        ? `All runs take ${bytes(total)} on disk, of which checkpoints ${bytes(checkpoints)}. ${bytes(free)} are free.`
        : "";
      this.button.hidden = !runs.some((held) => held.removable);
    }
    async choose() {
      await this.look();
      const names = await chosen(this.found);
      if (!names?.length) return;
      try {
        const made = await post("/studio/prune", { runs: names });
        const refused = made.runs.filter((one) => one.error);
        this.result.replaceChildren(
          el("p", { class: "st-note" }, `${bytes(made.freed)} were freed.`),
          ...refused.map((one) => note(Object.assign(new Error(one.error), { hint: one.hint }))),
        );
      } catch (error) {
        this.result.replaceChildren(note(error));
      }
      this.look();
    }
  }

  /** Ask which runs' checkpoints go; resolves to their names, or null. Runs that are done are chosen beforehand. */
  const chosen = (found) =>
    new Promise((resolve) => {
      const runs = found.runs.filter((held) => held.removable).sort((a, b) => b.checkpoints - a.checkpoints);
      const boxes = new Map();
      const go = el("button", { class: "st-button main", value: "yes" });
      const count = () => {
        const picked = runs.filter((held) => boxes.get(held.name).checked);
        go.disabled = !picked.length;
        go.textContent = `Remove ${bytes(picked.reduce((sum, held) => sum + held.checkpoints, 0))} of checkpoints`;
      };
      const line = (held) => {
        const box = el("input", { type: "checkbox", checked: held.state === "done", onchange: count });
        boxes.set(held.name, box);
        const lost = held.has_model ? "" : el("small", {}, "no finished model: only curves and log would stay");
        return el("li", {}, el("label", {}, box, el("span", {}, held.name, el("small", {}, held.state), lost)), bytes(held.checkpoints));
      };
      const lines = runs.map(line);
      const cancel = el("button", { type: "button", class: "st-button", onclick: () => dialog.close("") }, "Cancel");
      const dialog = el(
        "dialog",
        { class: "st-dialog room", "aria-label": "Free space" },
        el(
          "form",
          { method: "dialog" },
          el("h2", {}, "Free space"),
          el(
            "p",
            {},
            `${bytes(found.free)} are free in ${found.root}. Checkpoints are there to resume a run. Without them a run keeps ` +
              "its model, curves and log, and cannot be resumed.",
          ),
          el("ul", {}, lines),
          el("div", { class: "st-actions" }, cancel, go),
        ),
      );
      dialog.addEventListener("close", () => {
        resolve(dialog.returnValue === "yes" ? runs.map((held) => held.name).filter((name) => boxes.get(name).checked) : null);
        dialog.remove();
      });
      document.body.append(dialog);
      count();
      dialog.showModal();
    });

  /** What one run takes, on its page; with a button once its checkpoints may go. `after` is told when they are gone. */
  const strip = async (element, name, after) => {
    let held;
    try {
      held = await get(`/studio/space/${encodeURIComponent(name)}`);
    } catch (error) {
      console.warn("what the run takes could not be asked:", error.message);
      return;
    }
    const kept = held.checkpoints ? `, of which checkpoints ${bytes(held.checkpoints)}` : "";
    const remove = async () => {
      if (!(await ask(`Remove the checkpoints of ${name}?`, held.has_model ? GONE : ONLY, "Remove checkpoints"))) return;
      let trouble = null;
      try {
        const [made] = (await post("/studio/prune", { runs: [name] })).runs;
        if (made.error) trouble = Object.assign(new Error(made.error), { hint: made.hint });
      } catch (error) {
        trouble = error;
      }
      await strip(element, name, after);
      if (trouble) element.append(note(trouble));
      else after();
    };
    element.replaceChildren(
      el("span", { class: "st-soft" }, `On disk: ${bytes(held.total)}${kept}.`),
      held.removable && held.checkpoints
        ? el("button", { type: "button", class: "st-button small", id: "prune", onclick: remove }, "Remove checkpoints")
        : "",
    );
  };
  window.Space = { mount: (element) => new Room(element), cell, strip };
})();
