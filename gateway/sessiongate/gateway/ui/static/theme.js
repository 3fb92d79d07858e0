/** Chooses light, dark, or what the system prefers. */

import { find } from "./dom.js";

const THEMES = ["auto", "light", "dark"];
const KEPT = "sessiongate.theme";

/** Makes the button choose the next theme, and applies the one that was chosen before. */
export function useThemes() {
  const button = find("theme");
  let theme = read();
  const show = () => {
    document.documentElement.dataset.theme = theme;
    button.title = `Theme: ${theme}`;
  };
  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    try {
      localStorage.setItem(KEPT, theme);
    } catch {
      // Where nothing may be stored, it lasts as long as the page.
    }
    show();
  });
  show();
}

function read() {
  try {
    const kept = localStorage.getItem(KEPT);
    return THEMES.includes(kept) ? kept : "auto";
  } catch {
    return "auto";
  }
}
