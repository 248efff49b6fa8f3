import AppLayoutToolbar from "@cloudscape-design/components/app-layout-toolbar";
import Box from "@cloudscape-design/components/box";
import BreadcrumbGroup from "@cloudscape-design/components/breadcrumb-group";
import Button from "@cloudscape-design/components/button";
import Link from "@cloudscape-design/components/link";
import Flashbar from "@cloudscape-design/components/flashbar";
import Modal from "./ui/modal";
import SideNavigation from "@cloudscape-design/components/side-navigation";
import SpaceBetween from "@cloudscape-design/components/space-between";
import TopNavigation from "@cloudscape-design/components/top-navigation";
import { useEffect, useRef, useState, useSyncExternalStore } from "react";
import { Outlet, useLocation, useNavigate, useNavigation } from "react-router";
import { call, chooseRegion, chosenRegion, loginAddress, queries, root, session, useCall } from "./api";
import { type Group, crumbs, pages } from "./routes";
import { useTheme, type Theme } from "./theme";
import { flashes } from "./ui/flash";
import { focusPage } from "./ui/focus";
import { useFollow } from "./ui/link";
import { Loading } from "./ui/state";

async function signOut() {
  await fetch(new URL("logout", root), { method: "POST", headers: { "X-Corbel-Console": "1" } }).catch(() => undefined);
  location.assign(new URL("login", root));
}

/** What is around every page: navigation, breadcrumbs, messages, and the word that the session has ended. */
export function Shell() {
  const here = useLocation().pathname;
  const loading = useNavigation().state === "loading";
  const follow = useFollow();
  // Before all else: who has no session is led to the sign-in page. Asked once, since a page that asks again must stay.
  const me = useCall("DescribeSession", {});
  const asked = useRef(false);
  asked.current ||= !me.isPending;
  const [open, setOpen] = useState(() => matchMedia("(min-width: 1100px)").matches);
  const list = useSyncExternalStore(flashes.subscribe, flashes.list);
  const trail = crumbs(here);
  const active = pages.filter((p) => p.group && trail.some((c) => c.href === `/${p.path}`)).at(-1);
  const navigate = useNavigate();

  useEffect(() => {
    // The title of a page is its breadcrumbs; whoever uses a screen reader hears it first.
    document.title = [...(trail.length > 0 || here === "/" ? trail.map((c) => c.text).reverse() : ["There is no such page"]), "Corbel"].join(" - ");
  }, [here]); // eslint-disable-line

  // The link that was followed is gone, and the focus with it, unless the page has a field that takes it, or
  // somebody was faster than the page: a menu at the top that loses the focus closes.
  const before = useRef(here);
  useEffect(() => {
    if (before.current !== here && !document.activeElement?.closest("main, #top, [role=dialog]")) focusPage();
    before.current = here;
  }, [here]);

  const groups: Group[] = ["Build", "Source", "Administration"];
  return (
    <>
      <Top />
      <AppLayoutToolbar
        headerSelector="#top"
        toolsHide
        navigationOpen={open}
        onNavigationChange={(e) => setOpen(e.detail.open)}
        ariaLabels={{
          navigation: "Side navigation",
          navigationToggle: "Open side navigation",
          navigationClose: "Close side navigation",
          notifications: "Messages",
        }}
        navigation={
          <SideNavigation
            header={{ text: "Corbel", href: "/" }}
            activeHref={active ? `/${active.path}` : ""}
            onFollow={(e) => {
              if (e.detail.external) return;
              e.preventDefault();
              if (matchMedia("(max-width: 688px)").matches) setOpen(false);
              navigate(e.detail.href);
            }}
            items={groups
              .map((g) => ({
                type: "section" as const,
                text: g,
                items: pages.filter((p) => p.group === g).map((p) => ({ type: "link" as const, text: p.crumb, href: `/${p.path}` })),
              }))
              .filter((s) => s.items.length > 0)}
          />
        }
        breadcrumbs={<BreadcrumbGroup items={[{ text: "Corbel", href: "/" }, ...trail]} onFollow={follow} ariaLabel="Breadcrumbs" />}
        notifications={<Flashbar items={list} stackItems={list.length > 3} />}
        content={
          <div aria-busy={loading}>{!asked.current ? <Loading what="your session" /> : <Outlet />}</div>
        }
      />
      <SessionEnded />
    </>
  );
}

function Top() {
  const { data } = useCall("DescribeSession", {});
  const [theme, setTheme] = useTheme();
  const region = chosenRegion() || data?.region || "";
  const regions = data?.regions?.length ? data.regions : region ? [region] : [];
  const themes: { id: Theme; text: string }[] = [
    { id: "system", text: "As the system" },
    { id: "light", text: "Light" },
    { id: "dark", text: "Dark" },
  ];
  return (
    <div id="top">
      <TopNavigation
        identity={{ href: root.href, title: "Corbel", logo: { src: new URL("corbel.svg", root).href, alt: "" } }}
        utilities={[
          {
            type: "menu-dropdown",
            iconName: "settings",
            ariaLabel: "Theme",
            title: "Theme",
            items: themes.map((t) => ({ ...t, itemType: "checkbox" as const, checked: t.id === theme })),
            onItemClick: (e) => setTheme(e.detail.id as Theme),
          },
          {
            type: "menu-dropdown",
            text: region || "Region",
            title: "Region",
            description: "Projects and credentials belong to a region",
            items: regions.map((r) => ({ id: r, text: r, itemType: "checkbox" as const, checked: r === region })),
            onItemClick: (e) => chooseRegion(e.detail.id),
          },
          {
            type: "menu-dropdown",
            iconName: "user-profile",
            text: data?.user ?? "",
            ariaLabel: `Account of ${data?.user ?? "the user"}`,
            title: data?.user,
            description: data && `Account ${data.account}, key ${data.accessKeyId}`,
            items: [{ id: "out", text: "Sign out" }],
            onItemClick: () => void signOut(),
          },
        ]}
        i18nStrings={{ overflowMenuTriggerText: "More", overflowMenuTitleText: "All" }}
      />
    </div>
  );
}

/**
 * Says that the session has ended and leads to the sign-in page. What was
 * typed stays: signing in in another tab lets this one go on.
 */
function SessionEnded() {
  const ended = useSyncExternalStore(session.subscribe, session.ended);
  const [still, setStill] = useState(false);

  async function goOn() {
    try {
      await call("DescribeSession", {});
      session.set(false);
      setStill(false);
      await queries.invalidateQueries();
    } catch {
      setStill(true);
    }
  }

  useEffect(() => {
    if (!ended) return;
    const back = () => document.visibilityState === "visible" && void goOn();
    document.addEventListener("visibilitychange", back);
    return () => document.removeEventListener("visibilitychange", back);
  }, [ended]);

  if (!ended) return null;
  return (
    <Modal
      visible
      header="Your session has ended"
      closeAriaLabel="Look at the page without a session"
      onDismiss={() => session.set(false)}
      footer={
        <Box float="right">
          <SpaceBetween direction="horizontal" size="xs">
            <Button onClick={() => void goOn()}>I have signed in again</Button>
            <Button variant="primary" onClick={() => window.open(loginAddress(), "_blank", "noopener")} iconName="external" iconAlign="right">
              Sign in in a new tab
            </Button>
          </SpaceBetween>
        </Box>
      }
    >
      <SpaceBetween size="s">
        <Box>
          You were signed out, were idle for too long, or the access key is no longer valid. Nothing that you typed on this page is lost: sign in in a new tab and
          come back.
        </Box>
        <Box>
          Or <Link href={loginAddress()}>sign in here</Link> and lose what is not saved.
        </Box>
        {still && <Box color="text-status-error">There is no session yet.</Box>}
      </SpaceBetween>
    </Modal>
  );
}
