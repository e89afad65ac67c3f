/* What every page needs: the light and dark switch, the page's title, and who is signed in. */
(() => {
  const KEY = "studio-theme";
  const apply = () => {
    const chosen = localStorage.getItem(KEY);
    const asked = new URLSearchParams(location.search).get("__theme");
    if (chosen && !asked && document.body) document.body.classList.toggle("dark", chosen === "dark");
  };
  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("[data-theme-toggle]")) return;
    const dark = !document.body.classList.contains("dark");
    localStorage.setItem(KEY, dark ? "dark" : "light");
    const address = new URL(location.href);
    if (address.searchParams.has("__theme")) {
      // Gradio's own wish, which would win again at the next reload
      address.searchParams.delete("__theme");
      history.replaceState(history.state, "", address);
    }
    apply();
  });
  const who = async (place) => {
    const answer = await fetch("/studio/who");
    if (!answer.ok) return;
    const { name, admin } = await answer.json();
    place.textContent = place.title = admin ? `${name} (admin)` : name;
  };
  const title = () => {
    const header = document.querySelector(".st-header"),
      place = header?.querySelector("[data-who]");
    if (place) who(place);
    if (header && header.dataset.title !== "Start") document.title = `${header.dataset.title} · AITraining Studio`;
    return Boolean(header);
  };
  // Gradio fetches this file while it draws the page: the switch shows once it is heard (style.css)
  document.documentElement.dataset.shell = "ready";
  const start = () => {
    apply();
    document.documentElement.lang ||= "en";
    const watch = new MutationObserver(() => {
      if (title()) {
        apply();
        watch.disconnect();
      }
    });
    if (!title()) watch.observe(document.body, { childList: true, subtree: true });
  };
  document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", start) : start();
})();
