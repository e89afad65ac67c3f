/* A box that searches the Hugging Face Hub while somebody types: a combobox with a list below it. */
(() => {
  const { el, bytes, get } = window.Page;
  const WAIT = 250,
    SHORTEST = 2;
  const many = (n) =>
    n >= 1e9 ? `${(n / 1e9).toFixed(1)} B` : n >= 1e6 ? `${(n / 1e6).toFixed(n >= 1e7 ? 0 : 1)} M` : n.toLocaleString("en");
  let made = 0;

  class Find {
    constructor(element) {
      const id = `hub-find-${++made}`;
      Object.assign(this, { ...element.dataset, found: [], at: -1 });
      this.list = el("ul", { role: "listbox", id: `${id}-list`, "aria-label": "Found on the Hugging Face Hub", hidden: true });
      this.says = el("p", { class: "st-soft hub-says", role: "status", id: `${id}-says` });
      this.box = el("input", {
        type: "text",
        role: "combobox",
        id,
        autocomplete: "off",
        autocapitalize: "none",
        spellcheck: "false",
        placeholder: "part of a name",
        "aria-expanded": "false",
        "aria-autocomplete": "list",
        "aria-controls": `${id}-list`,
        "aria-describedby": `${id}-says`,
        oninput: () => this.soon(),
        onkeydown: (event) => this.key(event),
        onblur: () => setTimeout(() => this.close(), 150),
        onfocus: () => this.found.length && this.open(),
      });
      element.replaceChildren(
        el("label", { for: id }, this.label),
        el("div", { class: "hub-box" }, this.box, this.list),
        this.says,
      );
    }
    /** Ask once nobody has typed for a moment; what is asked at that time is asked no more. */
    soon() {
      clearTimeout(this.timer);
      this.asking?.abort();
      const text = this.box.value.trim();
      if (text.length < SHORTEST) {
        this.show([]);
        this.says.textContent = "";
        return;
      }
      this.timer = setTimeout(() => this.ask(text), WAIT);
    }
    async ask(text) {
      const asking = (this.asking = new AbortController());
      this.says.textContent = "Searching…";
      try {
        const { found } = await get(`/studio/hub/${this.kind}?q=${encodeURIComponent(text)}`, asking.signal);
        if (asking.signal.aborted) return;
        const noun = this.kind === "models" ? "model" : "data set";
        this.says.textContent = found.length
          ? `${found.length} ${noun}${found.length === 1 ? "" : "s"} found, those downloaded most first.`
          : `No ${noun} that can be used has this in its name. A full id can be typed above.`;
        this.show(found);
      } catch (error) {
        if (asking.signal.aborted) return;
        this.show([]);
        this.says.textContent = `${error.message} ${error.hint ?? ""}`.trim();
      }
    }
    show(found) {
      this.found = found;
      this.at = -1;
      this.box.removeAttribute("aria-activedescendant");
      this.list.replaceChildren(...found.map((one, n) => this.option(one, n)));
      if (found.length && document.activeElement === this.box) this.open();
      else this.close();
    }
    option(one, n) {
      const facts = [
        one.parameters && `${many(one.parameters)} weights`,
        one.bytes && bytes(one.bytes),
        one.rows && `${one.rows.replaceAll("<n<", " to ").replace("n<", "under ").replace("n>", "over ")} rows`,
        one.licence || "no licence stated",
        `${many(one.downloads)} downloads`,
      ];
      return el(
        "li",
        {
          role: "option",
          id: `${this.box.id}-${n}`,
          "aria-selected": "false",
          onmousedown: (event) => event.preventDefault(), // the box keeps the focus
          onclick: () => this.choose(n),
        },
        el("strong", {}, one.id, " "),
        one.gated && el("span", { class: "hub-mark" }, "gated"),
        one.private && el("span", { class: "hub-mark" }, "private"),
        el("span", { class: "hub-facts" }, facts.filter(Boolean).join(" · ")),
      );
    }
    open() {
      this.list.hidden = false;
      this.box.setAttribute("aria-expanded", "true");
    }
    close() {
      this.list.hidden = true;
      this.box.setAttribute("aria-expanded", "false");
    }
    move(to) {
      this.open();
      this.at = (to + this.found.length) % this.found.length;
      [...this.list.children].forEach((li, n) => li.setAttribute("aria-selected", String(n === this.at)));
      this.box.setAttribute("aria-activedescendant", `${this.box.id}-${this.at}`);
      this.list.children[this.at].scrollIntoView({ block: "nearest" });
    }
    key(event) {
      const moves = { ArrowDown: this.at + 1, ArrowUp: this.at < 0 ? -1 : this.at - 1 };
      if (event.key in moves && this.found.length) this.move(moves[event.key]);
      else if (event.key === "Enter" && this.at >= 0 && !this.list.hidden) this.choose(this.at);
      else if (event.key === "Escape" && !this.list.hidden) this.close();
      else return;
      event.preventDefault();
      event.stopPropagation();
    }
    choose(n) {
      const { id } = this.found[n],
        target = document.querySelector(`#${this.into} :is(textarea, input)`);
      this.close();
      this.box.value = "";
      this.show([]);
      this.says.textContent = `${id} is chosen.`;
      target.value = ""; // the same one may be chosen twice
      target.value = id;
      target.dispatchEvent(new Event("input", { bubbles: true }));
    }
  }
  window.HubFind = {
    mount(element) {
      element.find ??= new Find(element);
    },
  };
})();
