import CloudscapeLink, { type LinkProps } from "@cloudscape-design/components/link";
import type { ReactNode } from "react";
import { useHref, useNavigate } from "react-router";

/** For the onFollow of navigation parts whose hrefs are paths of the console. */
export function useFollow() {
  const navigate = useNavigate();
  return (e: CustomEvent<{ href?: string; external?: boolean }>) => {
    if (!e.detail.href?.startsWith("/")) return;
    e.preventDefault();
    navigate(e.detail.href);
  };
}

/** A link to a page of the console: "/projects/app". It opens in a new tab like any other. */
export function Link({ to, ...props }: { to: string } & Omit<LinkProps, "href" | "onFollow">) {
  const navigate = useNavigate();
  const href = useHref(to);
  return (
    <CloudscapeLink
      {...props}
      href={href}
      onFollow={(e) => {
        e.preventDefault();
        navigate(to);
      }}
    />
  );
}

/** A link to a page elsewhere, in a new tab; without an address only what it is about. */
export function Outside({ address, children }: { address: string; children: ReactNode }) {
  if (!address) return <>{children}</>;
  return (
    <CloudscapeLink external href={address}>
      {children}
    </CloudscapeLink>
  );
}

/** An address out of the API as a link, if it is one of the web; anything else is only text. */
export function isWebAddress(address: string | undefined): address is string {
  return /^https?:\/\//i.test(address ?? "");
}
