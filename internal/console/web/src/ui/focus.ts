/** Puts the keyboard's focus on the heading of the page, where reading it begins. */
export function focusPage() {
  const heading = document.querySelector<HTMLElement>("main h1");
  if (!heading) return;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

/** How long after something was done the page may still take away what has the focus. Milliseconds. */
const settling = 500;

/**
 * Puts the focus on the page's heading if nothing has it: what had it is taken
 * off the page, or can no longer be used.
 */
export function keepFocus() {
  const until = performance.now() + settling;
  const look = () => {
    const at = document.activeElement;
    if (!at || at === document.body || at.matches(":disabled")) focusPage();
    else if (performance.now() < until) requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}
