/* Pages without Gradio, the login page above all: light or dark as elsewhere, the password from the link that was printed, drafts
 * of who has left, frames. */
(() => {
  const KEY = "studio-theme";
  let chosen = null;
  try {
    chosen = localStorage.getItem(KEY);
    if (location.pathname === "/login" && new URLSearchParams(location.search).has("out"))
      for (const name of Object.keys(localStorage)) if (name.startsWith("studio-") && name !== KEY) localStorage.removeItem(name);
  } catch {
    // a frame of another site may keep nothing
  }
  const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.body.classList.toggle("dark", dark);
  const form = document.querySelector("form"),
    key = new URLSearchParams(location.hash.slice(1)).get("key");
  if (key && form) {
    // what comes after # is sent to nobody: it stands in no log, and now no longer in the address either
    history.replaceState(null, "", location.pathname + location.search);
    form.elements.password.value = key;
    form.submit();
  }
  if (window.self !== window.top) {
    for (const link of document.querySelectorAll("[data-leave]")) link.target = "_blank";
    for (const line of document.querySelectorAll(".framed")) line.hidden = false;
  }
})();
