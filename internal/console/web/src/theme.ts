import { Mode, applyMode } from "@cloudscape-design/global-styles";
import { useSyncExternalStore } from "react";
import { root } from "./api";

export type Theme = "system" | "light" | "dark";

const key = "corbel.theme";
const dark = matchMedia("(prefers-color-scheme: dark)");
const watchers = new Set<() => void>();

function chosen(): Theme {
  const t = localStorage.getItem(key);
  return t === "light" || t === "dark" ? t : "system";
}

/** Shows the page in the theme that was chosen, by default the system's. */
export function applyTheme() {
  const t = chosen();
  applyMode(t === "dark" || (t === "system" && dark.matches) ? Mode.Dark : Mode.Light);
  document.cookie = `corbel_theme=${t}; path=${root.pathname}; max-age=31536000; samesite=lax`; // for the pages without script
  for (const f of watchers) f();
}

function subscribe(f: () => void) {
  watchers.add(f);
  return () => watchers.delete(f);
}

dark.addEventListener("change", applyTheme);
addEventListener("storage", applyTheme); // another tab chose

export function useTheme(): [Theme, (t: Theme) => void] {
  return [
    useSyncExternalStore(subscribe, chosen),
    (t) => {
      localStorage.setItem(key, t);
      applyTheme();
    },
  ];
}
