/**
 * Every page of the console. A page is a line here and a file in pages/; the
 * side navigation and the breadcrumbs come from this list.
 */
import type { ComponentType } from "react";
import { Navigate, createBrowserRouter } from "react-router";
import { root } from "./api";
import { Shell } from "./shell";
import { Crash } from "./ui/state";

export type Group = "Build" | "Source" | "Administration";

interface Page {
  /** Relative to the console's root. */
  path: string;
  /** Its place in the breadcrumbs. A ":" stands for the parameter at the end of the path. */
  crumb: string;
  /** Its place in the side navigation, if it has one. */
  group?: Group;
  /** The page that it is under, if its path does not say so. Below "projects" each name is a project's. */
  parent?: string;
  load: () => Promise<{ default: ComponentType }>;
}

export const pages: Page[] = [
  { path: "dashboard", crumb: "Dashboard", group: "Build", load: () => import("./pages/dashboard") },
  { path: "projects", crumb: "Projects", group: "Build", load: () => import("./pages/projects") },
  { path: "create-project", parent: "projects", crumb: "Create build project", load: () => import("./pages/project-create") },
  { path: "projects/:project", crumb: ":", load: () => import("./pages/project") },
  { path: "projects/:project/edit", crumb: "Edit", load: () => import("./pages/project-edit") },
  { path: "projects/:project/webhook", crumb: "Webhook", load: () => import("./pages/project-webhook") },
  { path: "builds", crumb: "Builds", group: "Build", load: () => import("./pages/builds") },
  { path: "builds/:build", crumb: ":", load: () => import("./pages/build") },
  { path: "deep-link", crumb: "Log", load: () => import("./pages/deep-link") },
  { path: "credentials", crumb: "Credentials", group: "Source", load: () => import("./pages/credentials") },
  { path: "access-keys", crumb: "Access keys", group: "Administration", load: () => import("./pages/access-keys") },
  { path: "hosts", crumb: "Hosts", group: "Administration", load: () => import("./pages/hosts") },
  { path: "audit", crumb: "Audit", group: "Administration", load: () => import("./pages/audit") },
  { path: "settings", crumb: "Settings", group: "Administration", load: () => import("./pages/settings") },
];

/** The page that the console opens with: the dashboard when there is one. */
const first = pages.some((p) => p.path === "dashboard") ? "dashboard" : "projects";

export const router = createBrowserRouter(
  [
    {
      element: <Shell />,
      hydrateFallbackElement: <></>,
      errorElement: <Crash />,
      children: [
        { index: true, element: <Navigate to={first} replace /> },
        ...pages.map((p) => ({
          path: p.path,
          errorElement: <Crash />,
          lazy: async () => ({ Component: (await p.load()).default }),
        })),
        { path: "*", lazy: async () => ({ Component: (await import("./pages/not-found")).default }) },
      ],
    },
  ],
  { basename: root.pathname.replace(/\/$/, "") || "/" },
);

/** Gets the code of the other pages when there is nothing else to do, so that a change of page waits for none. */
export function prefetchWhenIdle() {
  const rest = pages.map((p) => p.load);
  const next = () => void rest.shift()?.().then(later, later);
  const later = () => {
    if (rest.length === 0) return;
    if ("requestIdleCallback" in window) requestIdleCallback(next, { timeout: 5_000 });
    else setTimeout(next, 200);
  };
  addEventListener("load", () => setTimeout(later, 1_000), { once: true });
}

/** The breadcrumbs of a path: each of its beginnings that is a page. */
export function crumbs(path: string): { text: string; href: string }[] {
  const parts = path.split("/").filter(Boolean);
  const list: { text: string; href: string }[] = [];
  const parent = pages.find((p) => p.path === parts.join("/"))?.parent;
  if (parent) list.push(...crumbs(parent));
  for (let n = 1; n <= parts.length; n++) {
    const here = parts.slice(0, n);
    const fits = (p: Page, exactly: boolean) => {
      const want = p.path.split("/");
      return want.length === n && want.every((w, i) => w === here[i] || (!exactly && w.startsWith(":")));
    };
    const page = pages.find((p) => fits(p, true)) ?? pages.find((p) => fits(p, false));
    if (page) list.push({ text: page.crumb === ":" ? decodeURIComponent(here[n - 1]!) : page.crumb, href: "/" + here.join("/") });
  }
  return list;
}
