/* Taking a run along: a dialog with the program and the settings to download, opened only when both can be made. */
(() => {
  const { el, request, get, bytes } = window.Page;
  const link = (words, main, href, id) => el("a", { class: `st-button${main ? " main" : ""}`, href, id, download: "" }, words);

  const WHAT = {
    plain:
      "A folder with a Python program that trains the same again on plain TRL, transformers and peft, the rows beside it. " +
      "Its head says what to install. A base model that lies on this machine is not in it: copy that along, and write its new " +
      "place at the head.",
    engine:
      "A folder with a Python program that trains the same again, the rows beside it. TRL has nothing of this kind, so it " +
      "calls the studio's own engine, and runs where the studio is installed.",
  };

  /** Open a dialog of this title and content, with `more` buttons beside Close. */
  const show = (title, content, more = []) => {
    const close = el("button", { type: "button", class: "st-button", onclick: () => dialog.close() }, "Close");
    const dialog = el(
      "dialog",
      { class: "st-dialog", "aria-label": title },
      el("h2", {}, title),
      ...content,
      el("div", { class: "st-actions" }, close, ...more),
    );
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  };

  /** Offer the export of the run called `name`, whose plain addresses begin with `address`; throws what the server says. */
  const offer = async (name, address, plain) => {
    await request(`${address}/settings.yaml`);
    show(
      "Take this run along",
      [
        el("p", {}, plain ? WHAT.plain : WHAT.engine),
        el("p", { class: "st-soft" }, "On this machine: ", el("code", {}, `aitraining export ${name}`)),
      ],
      [
        link("Settings (YAML)", false, `${address}/settings.yaml`, "export-yaml"),
        link("Program (zip)", true, `${address}/export.zip`, "export-program"),
      ],
    );
  };
  /** Offer the files of the model of the run called `name`, all in one or each by itself; throws what the server says. */
  const model = async (name) => {
    const address = `/studio/api/runs/${encodeURIComponent(name)}/model`,
      { files } = await get(address);
    const place = (file) => `${address}/${file.split("/").map(encodeURIComponent).join("/")}`;
    const listed = files.map((file) =>
      el("li", {}, el("a", { href: place(file.name), download: "" }, file.name), ` ${bytes(file.bytes)}`),
    );
    show(
      "Download the model",
      [
        el("p", {}, "Together in one folder these files are the model, as transformers and other programs load it."),
        el("ul", { class: "model-files" }, listed),
      ],
      [link("All in one (zip)", true, `${address}.zip`, "download-all")],
    );
  };
  window.Export = { offer, model };
})();
