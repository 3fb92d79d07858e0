/** The keys that work everywhere on the page. */

import { find } from "./dom.js";

/** Makes keys do what is passed for them; also shows the help dialog. */
export function useKeys({ search, pause, past, close }) {
  const help = find("help-dialog");
  find("help").addEventListener("click", () => help.showModal());
  for (const button of document.querySelectorAll("dialog [data-close]")) {
    button.addEventListener("click", () => button.closest("dialog").close());
  }
  const actions = { "/": search, p: pause, t: past, "?": () => help.showModal() };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]"))
      return;
    if (event.key === "Escape") {
      close();
      return;
    }
    const isTyping = event.target.matches("input, select, textarea");
    const action = actions[event.key];
    if (!action || isTyping) return;
    event.preventDefault();
    action();
  });
}
