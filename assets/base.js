/* What the pages drawn by script share: escaping elements, requests, words for numbers, a dialog. */
(() => {
  /** An element with text and attributes; children are elements or strings, and strings are never markup. */
  const el = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else if (value === true) made.setAttribute(key, "");
      else if (value !== false && value != null) made.setAttribute(key, value);
    }
    made.append(...children.flat().filter((child) => child != null && child !== "" && child !== false));
    return made;
  };
  const number = (v) =>
    v == null
      ? "–"
      : Math.abs(v) >= 1000
        ? Math.round(v).toLocaleString("en")
        : v !== 0 && Math.abs(v) < 0.001
          ? v.toExponential(1)
          : String(+v.toPrecision(4));
  const duration = (s) =>
    s == null || !isFinite(s)
      ? "–"
      : s < 90
        ? `${Math.max(0, Math.round(s))} s`
        : s < 5400
          ? `${Math.round(s / 60)} min`
          : s < 172800
            ? `${(s / 3600).toFixed(1)} h`
            : `${(s / 86400).toFixed(1)} days`;
  const bytes = (n) =>
    n == null
      ? "–"
      : n >= 1e9
        ? `${(n / 1e9).toFixed(1)} GB`
        : n >= 1e7
          ? `${Math.round(n / 1e6)} MB`
          : n >= 1e6
            ? `${(n / 1e6).toFixed(1)} MB`
            : n >= 1e3
              ? `${Math.round(n / 1e3)} kB`
              : `${n} bytes`;
  /** How far something is on its way from or to the Hub, in words: 1.2 of 2.2 GB, 34 MB a second, 30 s left. */
  const transfer = (t) => {
    const left = t.per_second && t.total > t.done ? `, ${duration((t.total - t.done) / t.per_second)} left` : "";
    return `${bytes(t.done)} of ${bytes(t.total)}${t.per_second ? `, ${bytes(t.per_second)} a second` : ""}${left}`;
  };
  /** A text in which addresses can be clicked on. */
  const linked = (text) =>
    String(text)
      .split(/(https?:\/\/[^\s,;<>"']+[^\s,;<>"'.)])/)
      .map((part, n) => (n % 2 ? el("a", { href: part, target: "_blank", rel: "noopener" }, part) : part));
  /** Signed out meanwhile, or too long ago: sign in, and come back to this very page. */
  const signedIn = (answer) => {
    if (answer.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
    return answer;
  };
  const AWAY = "The studio does not answer, so nothing was done. Try again in a moment.";
  const READ_MS = 4000;
  /** The answer to a request. Throws what a server that refuses says, with its `status`; without one, `away`, if none answers. */
  const request = async (address, options = {}) => {
    let answer;
    try {
      answer = signedIn(await fetch(address, options));
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw Object.assign(new Error(AWAY), { away: true, hint: "" });
    }
    for (const box of document.querySelectorAll("[data-away]")) if (Date.now() - box.dataset.away > READ_MS) box.remove();
    if (answer.ok) return answer;
    const said = await answer.json().catch(() => ({}));
    throw Object.assign(new Error(said.error || answer.statusText), { status: answer.status, hint: said.hint || "" });
  };
  const get = async (address, signal) => (await request(address, { signal })).json().catch(() => ({}));
  const send = (address, body, signal) =>
    request(address, {
      method: "POST",
      signal,
      headers: { "X-Studio": "1", "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  const post = async (address, body = {}) => (await send(address, body)).json().catch(() => ({}));
  const pill = (state) => el("span", { class: "st-pill", "data-state": state }, state);
  /** What went wrong, in a box. One that says that the studio is away goes with the next answer, once it could be read. */
  const note = (error) =>
    el(
      "div",
      { class: "st-note error", role: "alert", "data-away": error.away && String(Date.now()) },
      el("strong", {}, error.message),
      error.hint ? [" ", linked(error.hint)] : "",
    );
  /** Ask before something is done; resolves to what was typed (true without a field), or null. With `attempt` it is tried while
   * the dialog is open: what is refused is said there, beside what was typed. */
  const ask = (title, text, action, field = null, attempt = null) =>
    new Promise((resolve) => {
      const refused = el("div", {});
      const input = field == null ? null : el("input", { type: "text", value: field, "aria-label": title });
      const cancel = el("button", { type: "button", class: "st-button", onclick: () => dialog.close("") }, "Cancel");
      const dialog = el(
        "dialog",
        { class: "st-dialog", "aria-label": title },
        el(
          "form",
          { method: "dialog" },
          el("h2", {}, title),
          el("p", {}, text),
          input,
          refused,
          el("div", { class: "st-actions" }, cancel, el("button", { class: "st-button main", value: "yes" }, action)),
        ),
      );
      dialog.addEventListener("close", () => {
        resolve(dialog.returnValue === "yes" ? (input ? input.value.trim() : true) : null);
        dialog.remove();
      });
      dialog.querySelector("form").addEventListener("submit", async (event) => {
        if (!attempt) return;
        event.preventDefault();
        try {
          await attempt(input ? input.value.trim() : true);
          dialog.close("yes");
        } catch (error) {
          refused.replaceChildren(note(error));
          input?.focus();
        }
      });
      document.body.append(dialog);
      dialog.showModal();
      input?.select();
    });
  /** Pipelines or sweeps, each as one line, kept up to date; nothing is shown where there is none. */
  class Lines {
    constructor(element, { address, title, works, line }) {
      Object.assign(this, { element, address, title, works, line });
      this.list = el("ul", { class: "pipelines" });
      this.tick();
    }
    async tick() {
      if (!this.element.isConnected) return;
      let wait = 5000;
      try {
        if (!document.hidden) {
          const found = await get(this.address);
          if (found.some(this.works)) wait = 2000;
          this.show(found);
        }
      } catch (error) {
        console.warn("asking again:", error.message); // the list of runs beside it says that the studio is away
      }
      setTimeout(() => this.tick(), wait);
    }
    show(found) {
      const key = JSON.stringify(found);
      if (key === this.key || this.list.contains(document.activeElement)) return;
      this.key = key;
      this.list.replaceChildren(...found.map(this.line));
      this.element.replaceChildren(...(found.length ? [el("h2", {}, this.title), this.list] : []));
    }
  }
  window.Page = { el, number, duration, bytes, transfer, linked, request, get, send, post, pill, note, ask, Lines };
})();
