/* The decision tree: answers live in the address bar, so reload, back button and bookmarks keep them. */
(() => {
  const QUESTIONS = (root) => [...root.querySelectorAll("[data-question]")];
  const read = () => new URLSearchParams(location.search);
  const same = (path, asked) => {
    const wanted = [...new URLSearchParams(path)];
    return wanted.length > 0 && wanted.every(([k, v]) => asked.get(k) === v);
  };
  const show = (root, jump) => {
    const asked = read();
    QUESTIONS(root).forEach((node) => {
      const path = node.dataset.path;
      node.classList.toggle("open", path === "" || same(path, asked));
    });
    root
      .querySelectorAll(".tree-answer, .case")
      .forEach((a) => (same(a.dataset.path, asked) ? a.setAttribute("aria-current", "true") : a.removeAttribute("aria-current")));
    root.querySelectorAll(".tree li").forEach((li) => li.classList.toggle("chosen", same(li.dataset.path, asked)));
    let shown = null;
    root.querySelectorAll(".advice").forEach((a) => {
      const on = same(a.dataset.path, asked) && (a.dataset.path.startsWith("use=") || !asked.has("use"));
      a.hidden = !on;
      if (on) shown = a;
    });
    if (shown && jump)
      shown.scrollIntoView({
        block: "nearest",
        behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth",
      });
  };
  window.StudioTree = {
    mount(element) {
      const root = element.querySelector(".home");
      root.addEventListener("click", (event) => {
        const answer = event.target.closest(".tree-answer, .tree-leaf, .case");
        if (!answer || event.ctrlKey || event.metaKey || event.shiftKey) return; // another tab or window is asked for
        event.preventDefault();
        const asked = new URLSearchParams();
        for (const [key, value] of read()) if (key.startsWith("__")) asked.set(key, value);
        for (const [key, value] of new URLSearchParams(answer.dataset.path)) asked.set(key, value);
        history.pushState(null, "", "?" + asked);
        show(root, true);
      });
      addEventListener("popstate", () => show(root, false));
      show(root, false);
    },
  };
})();
