/* The forms: going to one field, taking a line out of a box of lines, and telling Gradio of every change of a text. */
(() => {
  const field = (name) => document.getElementById(`field-${name}`);
  /** Bring the group of a field of the step that is just being opened into view. */
  const show = (name, tries = 30) => {
    const box = name && field(name),
      group = box?.closest(".group");
    if (!group?.offsetParent) {
      if (tries) setTimeout(() => show(name, tries - 1), 100);
      return;
    }
    group.tabIndex = -1;
    group.focus({ preventScroll: true });
    group.scrollIntoView({ block: "start" });
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-remove-line]");
    if (!button) return;
    const box = field("rl_rewards").querySelector("textarea"),
      lines = box.value.split("\n").filter((line) => line.trim());
    lines.splice(Number(button.dataset.removeLine), 1);
    box.value = lines.join("\n");
    box.dispatchEvent(new Event("input", { bubbles: true }));
  });
  // Gradio 6.31's text boxes tell of typed characters alone: not of what is deleted, pasted, dictated or set by a script.
  let typed = false;
  document.addEventListener(
    "keypress",
    (event) => {
      typed = event.isTrusted;
      setTimeout(() => (typed = false));
    },
    true,
  );
  document.addEventListener("input", ({ target }) => {
    if (!typed && target.matches?.('.gradio-container [data-testid="textbox"]'))
      target.dispatchEvent(new KeyboardEvent("keypress", { key: "Unidentified", bubbles: true }));
  });
  // Gradio 6.31 takes the words beside a wrong value away with the first word of any answer that has read the form, though
  // the value is as wrong as before. Whenever they go, the server is asked for them again; it says nothing of a right one.
  const words = ".validation-error";
  const missed = ({ target, removedNodes }) =>
    [...removedNodes].some((node) => node.matches?.(words) || node.querySelector?.(words)) && !target.querySelector(words);
  let asking = 0;
  new MutationObserver((changes) => {
    if (!changes.some(missed)) return;
    clearTimeout(asking);
    asking = setTimeout(() => document.getElementById("judge")?.click(), 100);
  }).observe(document.documentElement, { childList: true, subtree: true });
  window.StudioForm = { show };
})();
