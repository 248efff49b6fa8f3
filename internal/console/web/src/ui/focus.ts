/** Puts the keyboard's focus on the heading of the page, where reading it begins. */
export function focusPage() {
  const heading = document.querySelector<HTMLElement>("main h1");
  if (!heading) return;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

/**
 * Puts the focus on the page's heading if nothing has it: what had it was taken
 * off the page, or can no longer be used.
 */
export function keepFocus() {
  requestAnimationFrame(() => {
    const at = document.activeElement;
    if (!at || at === document.body || at.matches(":disabled")) focusPage();
  });
}
