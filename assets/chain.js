/* A pipeline as a picture: its stages as boxes with arrows between them, kept up to date without losing the keyboard's place. */
(() => {
  const { el, get, number, pill } = window.Page;
  const IDLE_MS = 10000,
    WORKING_MS = 1500;
  const address = (name) => `/studio/pipelines/${encodeURIComponent(name)}`;
  const share = (s) => (s.state === "done" ? 1 : s.total_steps ? Math.min(1, s.step / s.total_steps) : 0);
  /** What a gate asks, and once it was held against the stage, what was reached. */
  const gate = (s) =>
    !s.gate
      ? null
      : el(
          "span",
          { class: "stage-gate", "data-met": s.reached == null ? false : String(s.state !== "gate not met") },
          s.reached == null
            ? `Goes on if: ${s.gate_words}`
            : `${s.state === "gate not met" ? "✗" : "✓"} reached ${number(s.reached)}; asked: ${s.gate_words}`,
        );
  const box = (s, place, current) => {
    const inside = [
      el("span", { class: "stage-name" }, `${place + 1} · ${s.stage}`),
      el("span", { class: "stage-about" }, s.on ? `${s.title}, ${s.on}` : s.title),
      pill(s.state),
      el("span", { class: "bar", "aria-hidden": "true" }, el("i", { style: `width:${100 * share(s)}%` })),
      el("span", { class: "stage-about" }, s.total_steps ? `step ${s.step} of ${s.total_steps}` : " "),
      gate(s),
    ];
    const here = current !== null && s.tries.includes(current);
    return s.run && s.state !== "gone"
      ? el("a", { class: "stage", href: `/run?id=${encodeURIComponent(s.run)}`, "aria-current": here ? "page" : false }, inside)
      : el("div", { class: "stage" }, inside);
  };
  /** Draw `progress` into `element`; only boxes that changed are made anew. `current` is the run whose page this is. */
  const draw = (element, progress, current = null) => {
    let list = element.querySelector("ol.chain");
    if (!list) {
      list = el("ol", { class: "chain", "aria-label": "Stages" });
      element.replaceChildren(list);
    }
    const begin = list.querySelector(".chain-model") ?? el("li", { class: "chain-model" });
    if (begin.textContent !== progress.base) begin.textContent = progress.base;
    if (!begin.isConnected) list.append(begin);
    progress.stages.forEach((s, place) => {
      const key = JSON.stringify(s),
        old = list.children[place + 1];
      if (old?.key === key) return;
      const item = old ?? el("li");
      const focused = item.contains(document.activeElement);
      item.key = key;
      item.dataset.state = s.state;
      item.dataset.stage = s.stage;
      item.replaceChildren(box(s, place, current));
      if (focused) item.querySelector("a")?.focus();
      if (!old) list.append(item);
    });
    while (list.children.length > progress.stages.length + 1) list.lastChild.remove();
  };
  /** Ask for a pipeline as long as `element` is on the page, and hand every answer, or what went wrong, to `take`. */
  const follow = (element, name, take) => {
    let timer,
      asking = false,
      failures = 0;
    const tick = async () => {
      clearTimeout(timer);
      if (!element.isConnected || asking) return;
      let wait = IDLE_MS;
      asking = true;
      try {
        if (!document.hidden) {
          const progress = await get(address(name));
          failures = 0;
          if (progress.driven || progress.at_work) wait = WORKING_MS;
          take(progress, null);
        }
      } catch (error) {
        if (error.status === 404) return take(null, error);
        wait = Math.min(IDLE_MS, 500 * 2 ** ++failures);
        take(null, error);
      } finally {
        asking = false;
      }
      timer = setTimeout(tick, wait);
    };
    document.addEventListener("visibilitychange", () => !document.hidden && tick());
    tick();
    return tick;
  };
  /** The strip above a run's page: the pipeline that the run is a stage of. */
  const strip = (element, name, run) => {
    const chain = el("div");
    element.replaceChildren(
      el("p", { class: "st-soft" }, "A stage of the pipeline ", el("a", { href: `/pipeline?id=${encodeURIComponent(name)}` }, name)),
      chain,
    );
    follow(element, name, (progress) => progress && draw(chain, progress, run));
  };
  /** The chain of a pipeline that is being set up, drawn by the server: a press chooses the stage whose form is shown. */
  const choose = (element, trigger) => {
    let pressed = null;
    element.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-place]");
      if (!button) return;
      pressed = button.dataset.place;
      trigger("select", { index: Number(pressed), value: pressed });
    });
    // it is drawn anew with every answer: the keyboard stays on the stage that was pressed
    new MutationObserver(() => {
      if (pressed !== null && document.activeElement === document.body)
        element.querySelector(`button[data-place="${pressed}"]`)?.focus({ preventScroll: true });
    }).observe(element, { childList: true, subtree: true });
    element.addEventListener("focusout", (event) => {
      if (event.relatedTarget) pressed = null;
    });
  };
  window.Chain = { draw, follow, strip, choose, address };
})();
