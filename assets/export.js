/* Taking a run along: a dialog with the program and the settings to download, opened only when both can be made. */
(() => {
  const { el } = window.Page;
  const link = (words, main, href, id) => el("a", { class: `st-button${main ? " main" : ""}`, href, id, download: "" }, words);

  const WHAT = {
    plain:
      "A folder with a Python program that trains the same again on plain TRL, transformers and peft, the rows beside it. " +
      "It runs on any machine; what to install is said at its head.",
    engine:
      "A folder with a Python program that trains the same again, the rows beside it. TRL has nothing of this kind, so it " +
      "calls the studio's own engine, and runs where the studio is installed.",
  };

  /** Offer the export of the run called `name`, whose plain addresses begin with `address`; throws what the server says. */
  const offer = async (name, address, plain) => {
    const answer = await fetch(`${address}/settings.yaml`);
    if (!answer.ok) {
      const said = await answer.json().catch(() => ({}));
      throw Object.assign(new Error(said.error || answer.statusText), { status: answer.status, hint: said.hint || "" });
    }
    const close = el("button", { type: "button", class: "st-button", onclick: () => dialog.close() }, "Close");
    const dialog = el(
      "dialog",
      { class: "st-dialog", "aria-label": "Take this run along" },
      el("h2", {}, "Take this run along"),
      el("p", {}, plain ? WHAT.plain : WHAT.engine),
      el("p", { class: "st-soft" }, "On this machine: ", el("code", {}, `aitraining export ${name}`)),
      el(
        "div",
        { class: "st-actions" },
        close,
        link("Settings (YAML)", false, `${address}/settings.yaml`, "export-yaml"),
        link("Program (zip)", true, `${address}/export.zip`, "export-program"),
      ),
    );
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  };
  window.Export = { offer };
})();
