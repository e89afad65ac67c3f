/* Gradio 6.31 names every option of a radio group differently, so arrow keys find no group. Name them together again. */
(() => {
  let groups = 0,
    planned = false;
  const mend = () => {
    planned = false;
    for (const radio of document.querySelectorAll('.wrap > label > input[type="radio"]')) {
      const group = radio.parentElement.parentElement;
      group.dataset.group ??= `group-${++groups}`;
      if (group.getAttribute("role") !== "radiogroup") {
        group.setAttribute("role", "radiogroup");
        const label = group.parentElement.querySelector('[data-testid="block-info"]')?.textContent.trim();
        if (label) group.setAttribute("aria-label", label);
      }
      if (radio.name !== group.dataset.group) radio.name = group.dataset.group;
    }
  };
  const plan = () => {
    if (!planned) {
      planned = true;
      requestAnimationFrame(mend);
    }
  };
  const start = () => {
    plan();
    new MutationObserver(plan).observe(document.body, {
      childList: true,
      subtree: true,
      attributes: true,
      attributeFilter: ["name"],
    });
  };
  document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", start) : start();
})();
