/* Sending a finished model to the Hugging Face Hub: the dialog that asks for its name, and how far it is. */
(() => {
  const { el, bytes, post, note } = window.Page;

  /** Ask where to, and begin; resolves to whether it was begun. What the server refuses is said in the dialog. */
  const ask = (name, address, hasAdapter) =>
    new Promise((resolve) => {
      const to = el("input", { type: "text", value: name, id: "upload-to", autocapitalize: "none", spellcheck: "false" });
      const open = el("input", { type: "checkbox", id: "upload-private", checked: true });
      const what = el(
        "select",
        { id: "upload-what" },
        el("option", { value: "" }, "The complete model"),
        el("option", { value: "adapter" }, "The LoRA adapter alone (small; needs its base model)"),
      );
      const wrong = el("div", {});
      const send = el("button", { class: "st-button main", id: "upload-send" }, "Upload");
      const form = el(
        "form",
        {
          onsubmit: async (event) => {
            event.preventDefault();
            send.disabled = true;
            try {
              const adapter = hasAdapter && what.value === "adapter";
              await post(`${address}/upload`, { to: to.value.trim(), private: open.checked, adapter });
              dialog.close("begun");
            } catch (error) {
              wrong.replaceChildren(note(error));
              send.disabled = false;
            }
          },
        },
        el("h2", {}, "Upload to the Hugging Face Hub"),
        el("p", { class: "st-soft" }, "With its model card, under the account that is logged in on the studio's machine."),
        el("label", { for: "upload-to" }, "Name, or owner/name"),
        to,
        hasAdapter && [el("label", { for: "upload-what" }, "What is uploaded"), what],
        el("label", { class: "tick", for: "upload-private" }, open, " Private: nobody else sees it"),
        wrong,
        el(
          "div",
          { class: "st-actions" },
          el("button", { type: "button", class: "st-button", onclick: () => dialog.close() }, "Cancel"),
          send,
        ),
      );
      const dialog = el("dialog", { class: "st-dialog", "aria-label": "Upload to the Hugging Face Hub" }, form);
      dialog.addEventListener("close", () => {
        dialog.remove();
        resolve(dialog.returnValue === "begun");
      });
      document.body.append(dialog);
      dialog.showModal();
      to.select();
    });

  const words = (u) => {
    if (u.state === "done")
      return el(
        "p",
        { class: "st-note" },
        `The ${u.adapter ? "adapter" : "model"} is on the Hub: `,
        el("a", { href: u.address, target: "_blank", rel: "noopener" }, u.address),
      );
    if (u.state === "failed") return note({ message: u.error, hint: u.hint });
    const share = u.total ? Math.round((100 * u.done) / u.total) : 0;
    return el(
      "div",
      { class: "st-note" },
      `Uploading to ${u.to}: ${u.total ? `${bytes(u.done)} of ${bytes(u.total)} sent` : "asking the Hub"}`,
      u.file && `, now ${u.file}`,
      "…",
      el(
        "div",
        { class: "bar", role: "progressbar", "aria-label": "Upload", "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": share },
        el("i", { style: `width:${share}%` }),
      ),
    );
  };

  /** Show in `element` how the upload `u` of a run stands; nothing for none. */
  const show = (element, u) => {
    const key = JSON.stringify(u ?? null);
    if (element.dataset.shown === key) return;
    element.dataset.shown = key;
    element.replaceChildren(...(u ? [words(u)] : []));
  };
  window.Upload = { ask, show };
})();
